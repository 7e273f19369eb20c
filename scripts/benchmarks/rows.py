"""Inserts rows of a day of use directly into the catalogue's table."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import Any

from sqlalchemy import create_engine

from pipeline.catalogue.tables import media
from pipeline.services import Services

DAY_MS, HOUR_MS = 24 * 3600 * 1000, 3600 * 1000
ROWS_PER_INSERT = 5000
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
KINDS = {  # how many of ten, MIME type, extension, largest size in bytes
    "image": (5, "image/jpeg", "jpg", 900_000),
    "ptt": (2, "audio/ogg", "ogg", 120_000),
    "video": (1, "video/mp4", "mp4", 9_000_000),
    "document": (1, "application/pdf", "pdf", 2_000_000),
    "sticker": (1, "image/webp", "webp", 80_000),
}
OUTCOMES = {  # how many of a thousand, stage, error code, message
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
    """Adds `count` attachments that finished within the last day, a third of them within the last hour."""
    rng = random.Random(seed)  # noqa: S311  the same rows each time
    now = int(time.time() * 1000)
    engine = create_engine(services.settings.database)
    totals: Counter[str] = Counter()
    with engine.begin() as connection:
        for first in range(0, count, ROWS_PER_INSERT):
            rows = [_row(rng, number, now) for number in range(first, min(count, first + ROWS_PER_INSERT))]
            connection.execute(media.insert(), rows)
            totals.update(row["status"] for row in rows)
    engine.dispose()
    for name, n in {**totals, "received": count, "stored": totals["done"], "retried": count // 90}.items():
        services.catalogue.increment(name, n)


def _row(rng: random.Random, number: int, now: int) -> dict[str, Any]:
    age = rng.uniform(0, HOUR_MS) if rng.random() < 1 / 3 else rng.uniform(HOUR_MS, DAY_MS)
    took = int(min(60_000, rng.lognormvariate(7.6, 0.5)))
    finished = now - int(age) - 1000
    status, stage, code, error = _outcome(rng)
    kind = rng.choices(list(KINDS), [row[0] for row in KINDS.values()])[0]
    _, mime, ext, max_size = KINDS[kind]
    sha256 = f"{rng.getrandbits(256):064x}"
    done = status == "done"
    return {
        "id": f"{rng.getrandbits(128):032x}",
        "gateway": "wppconnect",
        "session": SESSIONS[min(int(rng.expovariate(0.35)), len(SESSIONS) - 1)],
        "message_id": f"false_55119{rng.randrange(10**8):08d}@c.us_3EB0{number:012X}",
        "part": 0,
        "chat": f"55119{rng.randrange(10**8):08d}@c.us",
        "status": status,
        "stage": stage,
        "attempts": 3 if status == "failed" else 0,
        "run": 0,
        "error_code": code,
        "error": error,
        "kind": kind,
        "mime": mime if done else None,
        "ext": ext if done else None,
        "size": rng.randrange(max_size // 20, max_size),
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


def _outcome(rng: random.Random) -> tuple[str, str, str | None, str | None]:
    outcomes = [(status, *outcome[1:]) for status, variants in OUTCOMES.items() for outcome in variants]
    weights = [outcome[0] for variants in OUTCOMES.values() for outcome in variants]
    return rng.choices(outcomes, weights)[0]
