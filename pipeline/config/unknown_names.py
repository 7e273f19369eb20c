"""Detects unknown or misspelled settings, which are ignored otherwise."""

from __future__ import annotations

import os
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from dotenv import dotenv_values

from pipeline.config.settings import Settings

# Similarity (0 to 1) from which a name in the environment counts as misspelled: WEBHOOK_URLS does, REDIS_TLS_URL of a
# hosting platform does not.
ENVIRONMENT_CUTOFF = 0.88
FILE_CUTOFF = 0.75  # the same for `.env`, which holds little else than these settings
# Prefixes of other programs' settings that may be in the same file.
FOREIGN = ("AWS_", "AZURE_", "COMPOSE_", "DRAMATIQ_", "GOOGLE_", "OTEL_", "PYTHON", "SENTRY_", "SSL_", "UV_")


class UnknownName(NamedTuple):
    """A name that is not a setting, the file or environment that holds it, and the most similar setting, if any."""

    name: str
    where: str
    suggestion: str | None

    def __str__(self) -> str:
        message = f"{self.name} ({self.where}) is not a setting"
        return f"{message}: did you mean {self.suggestion}?" if self.suggestion else message


def unknown_names(file: Path | None = None) -> list[UnknownName]:
    """The names in `.env` that are not settings, and those in the environment that resemble a setting.

    Names in `.env` that belong to other programs are left out.
    """
    path = file or Path(str(Settings.model_config["env_file"]))
    known = {name.upper() for name in Settings.model_fields}
    values = dotenv_values(path, interpolate=False) if path.is_file() else {}
    in_file = sorted({name.upper() for name in values} - known)
    in_environment = sorted({name.upper() for name in os.environ} - known - set(in_file))
    unknown = [
        UnknownName(name, path.name, _most_similar(name, known, FILE_CUTOFF))
        for name in in_file
        if not name.startswith(FOREIGN)
    ]
    similar = [(name, _most_similar(name, known, ENVIRONMENT_CUTOFF)) for name in in_environment]
    return unknown + [UnknownName(name, "environment", suggestion) for name, suggestion in similar if suggestion]


def _most_similar(name: str, known: Iterable[str], cutoff: float) -> str | None:
    words = sorted(name.split("_"))
    reordered = [setting for setting in known if sorted(setting.split("_")) == words]  # REDIS_PASSWORD, PASSWORD_REDIS
    similar = reordered or get_close_matches(name, known, n=1, cutoff=cutoff)
    return similar[0] if similar else None
