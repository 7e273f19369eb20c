"""Rows of a catalogue that has been in use for a day, written straight into its table."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import Any

from sqlalchemy import create_engine

from pipeline.catalogue.tables import media
from pipeline.services import Services

DAY_MS, HOUR_MS = 24 * 3600 * 1000, 3600 * 1000
AT_ONCE = 5000
SESSIONS = (
    *(
        "loja-centro",
        "loja-norte",
        "suporte",
        "clinica-vida",
        "escola-azul",
        "entregas",
        "oficina-silva",
        "padaria-sol",
    ),
    *("imobiliaria", "academia", "advocacia", "hotel-praia", "pet-amigo", "farmacia-24h", "eventos", "cobranca"),
)
KINDS = {  # of ten: how many, what it is, how large at most
    "image": (5, "image/jpeg", "jpg", 900_000),
    "ptt": (2, "audio/ogg", "ogg", 120_000),
    "video": (1, "video/mp4", "mp4", 9_000_000),
    "document": (1, "application/pdf", "pdf", 2_000_000),
    "sticker": (1, "image/webp", "webp", 80_000),
}
ENDINGS = {  # of a thousand: how many, at which stage, with which code and words
    "done": ((955, "notify", None, None),),
    "rejected": (
        (14, "detect", "type_not_allowed", "text/html is not allowed"),
        (9, "validate", "broken", "is cut off"),
    ),
    "failed": (
        (8, "fetch", "fetch_timeout", "no byte within 15 s"),
        (4, "notify", "notify", "the webhook answers 502"),
    ),
    "expired": ((10, "fetch", "source_gone", "the source answers 410"),),
}


def fill(services: Services, count: int, *, seed: int = 7) -> None:
    """Adds `count` attachments that have ended within the last day, a third of them within the last hour."""
    dice = random.Random(seed)  # noqa: S311  the same rows each time
    now = int(time.time() * 1000)
    engine = create_engine(services.settings.database)
    totals: Counter[str] = Counter()
    with engine.begin() as connection:
        for first in range(0, count, AT_ONCE):
            rows = [_row(dice, number, now) for number in range(first, min(count, first + AT_ONCE))]
            connection.execute(media.insert(), rows)
            totals.update(row["status"] for row in rows)
    engine.dispose()
    for name, n in {**totals, "received": count, "stored": totals["done"], "retried": count // 90}.items():
        services.catalogue.increment(name, n)


def _row(dice: random.Random, number: int, now: int) -> dict[str, Any]:
    age = dice.uniform(0, HOUR_MS) if dice.random() < 1 / 3 else dice.uniform(HOUR_MS, DAY_MS)
    took = int(min(60_000, dice.lognormvariate(7.6, 0.5)))
    finished = now - int(age) - 1000
    status, stage, code, error = _ending(dice)
    kind = dice.choices(list(KINDS), [one[0] for one in KINDS.values()])[0]
    _, mime, ext, most = KINDS[kind]
    sha256 = f"{dice.getrandbits(256):064x}"
    done = status == "done"
    return {
        "id": f"{dice.getrandbits(128):032x}",
        "gateway": "wppconnect",
        "session": SESSIONS[min(int(dice.expovariate(0.35)), len(SESSIONS) - 1)],
        "message_id": f"false_55119{dice.randrange(10**8):08d}@c.us_3EB0{number:012X}",
        "part": 0,
        "chat": f"55119{dice.randrange(10**8):08d}@c.us",
        "status": status,
        "stage": stage,
        "attempts": 3 if status == "failed" else 0,
        "run": 0,
        "error_code": code,
        "error": error,
        "kind": kind,
        "mime": mime if done else None,
        "ext": ext if done else None,
        "size": dice.randrange(most // 20, most),
        "sha256": sha256 if done else None,
        "name": f"{finished // 1000}_{sha256[:6]}.{ext}" if done else None,
        "declared_kind": kind,
        "declared_mime": mime,
        "filename": f"pedido {number}.pdf" if kind == "document" else None,
        "received_at": finished - took,
        "ended_at": finished,
        "finished_at": finished,
        "announced_at": finished,
        "intake": False,
        "payload": "{}",
    }


def _ending(dice: random.Random) -> tuple[str, str, str | None, str | None]:
    ways = [(status, *way[1:]) for status, several in ENDINGS.items() for way in several]
    weights = [way[0] for several in ENDINGS.values() for way in several]
    return dice.choices(ways, weights)[0]
