"""Faults of secrets: one is changed where it is checked, and the plant learns of it later. A function is one round."""

from __future__ import annotations

import secrets
import time
from concurrent.futures import ThreadPoolExecutor

from scripts.faults.environment import Site
from scripts.faults.product import new_secret
from scripts.faults.supervisor import Part

UNAWARE_S = 2.0  # and for as long as the parts then take to end


def rotate(site: Site, turn: int) -> None:
    """The key of object storage, the secret of the webhook, each in its turn."""
    site.load.surge(10)
    refused = _refusals(site)
    news = _new_store_key(site) if turn % 2 == 0 else _new_webhook_secret(site)
    time.sleep(UNAWARE_S)
    for part in site.parts:
        part.env.update(news)
    with ThreadPoolExecutor(len(site.parts)) as crowd:
        list(crowd.map(Part.stop, site.parts))
    site.wait_for_workers()
    site.plant.wait_until_ready()
    site.came_back()
    if _refusals(site) == refused:
        site.marks.broken.append("nothing was refused for the old secret")
    time.sleep(site.chance.uniform(3, 6))


def _new_store_key(site: Site) -> dict[str, str]:
    assert site.store
    site.store.key_id = f"key-{secrets.token_hex(4)}"
    return {"AWS_ACCESS_KEY_ID": site.store.key_id}


def _new_webhook_secret(site: Site) -> dict[str, str]:
    site.around.secret = new_secret()
    return {"WEBHOOK_SECRET": site.around.secret}


def _refusals(site: Site) -> int:
    assert site.store
    return site.around.refused + site.store.refused
