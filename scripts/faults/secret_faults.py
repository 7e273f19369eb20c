"""Secret rotation: a secret changes in the external service first, in the product later. A function is one round."""

from __future__ import annotations

import secrets
import time
from concurrent.futures import ThreadPoolExecutor

from scripts.faults.environment import Testbed
from scripts.faults.esteira import new_secret
from scripts.faults.supervisor import Part

UNAWARE_S = 2.0  # the old secret is used for this time and until all parts have ended


def rotate(testbed: Testbed, round_number: int) -> None:
    """Rotates the key of object storage and the webhook secret in turn."""
    testbed.load.surge(10)
    refused_before = _refusals(testbed)
    new_settings = _new_store_key(testbed) if round_number % 2 == 0 else _new_webhook_secret(testbed)
    time.sleep(UNAWARE_S)
    for part in testbed.parts:
        part.env.update(new_settings)
    with ThreadPoolExecutor(len(testbed.parts)) as pool:
        list(pool.map(Part.stop, testbed.parts))
    testbed.wait_for_workers()
    testbed.target.wait_until_ready()
    testbed.record_recovery()
    if _refusals(testbed) == refused_before:
        testbed.observations.problems.append("no request was refused because of the old secret")
    time.sleep(testbed.rng.uniform(3, 6))


def _new_store_key(testbed: Testbed) -> dict[str, str]:
    assert testbed.store
    testbed.store.key_id = f"key-{secrets.token_hex(4)}"
    return {"AWS_ACCESS_KEY_ID": testbed.store.key_id}


def _new_webhook_secret(testbed: Testbed) -> dict[str, str]:
    testbed.servers.secret = new_secret()
    return {"WEBHOOK_SECRET": testbed.servers.secret}


def _refusals(testbed: Testbed) -> int:
    assert testbed.store
    return testbed.servers.refused + testbed.store.refused
