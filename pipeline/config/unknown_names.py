"""Names that somebody took for a setting and that are none: what is misspelt is ignored, and nobody would notice."""

from __future__ import annotations

import os
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from dotenv import dotenv_values

from pipeline.config.settings import Settings

VERY_NEAR = 0.88  # WEBHOOK_URLS is, REDIS_TLS_URL of a hosting platform is not
NEAR = 0.75  # in a file that is there for these settings
# What others read from the same file, as platforms and object stores do.
FOREIGN = ("AWS_", "AZURE_", "COMPOSE_", "DRAMATIQ_", "GOOGLE_", "OTEL_", "PYTHON", "SENTRY_", "SSL_", "UV_")


class Unknown(NamedTuple):
    """A name that is no setting; where it stands, and which setting was meant, if one is near."""

    name: str
    where: str
    meant: str | None

    def __str__(self) -> str:
        told = f"{self.name} ({self.where}) is no setting"
        return f"{told}: {self.meant} is" if self.meant else told


def unknown_names(file: Path | None = None) -> list[Unknown]:
    """What stands in `.env` and is no setting, and what stands in the environment and is nearly one.

    Of `.env` everything is told but what is known to be another program's: nobody puts a name there without a purpose.
    """
    path = file or Path(str(Settings.model_config["env_file"]))
    known = {name.upper() for name in Settings.model_fields}
    named = dotenv_values(path, interpolate=False) if path.is_file() else {}
    in_file = sorted({name.upper() for name in named} - known)
    found = [Unknown(name, path.name, _meant(name, known, NEAR)) for name in in_file if not name.startswith(FOREIGN)]
    around = sorted({name.upper() for name in os.environ} - known - set(in_file))
    near = [(name, _meant(name, known, VERY_NEAR)) for name in around]
    return found + [Unknown(name, "environment", meant) for name, meant in near if meant]


def _meant(name: str, known: Iterable[str], cutoff: float) -> str | None:
    words = sorted(name.split("_"))
    turned = [one for one in known if sorted(one.split("_")) == words]  # REDIS_PASSWORD for PASSWORD_REDIS
    near = turned or get_close_matches(name, known, n=1, cutoff=cutoff)
    return near[0] if near else None
