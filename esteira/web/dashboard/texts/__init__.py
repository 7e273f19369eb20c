"""The texts of the dashboard in English and Portuguese: one module per page, with the same keys in both languages.

A key is `page.name`; a text may contain values as `{count}`. Add a new module to `MODULES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from esteira.web.dashboard.texts import audit, bulk, failures, item, media, now, pauses, sessions, shell, webhooks

LANGUAGES = {"en": "English", "pt-BR": "Português (Brasil)"}
MODULES: tuple[ModuleType, ...] = (shell, pauses, now, media, item, bulk, failures, sessions, webhooks, audit)
TEXTS: Mapping[str, Mapping[str, str]] = {
    "en": {key: text for module in MODULES for key, text in module.EN.items()},
    "pt-BR": {key: text for module in MODULES for key, text in module.PT_BR.items()},
}


def text(language: str, key: str, **values: object) -> str:
    """The text of a key.

    Raises:
        KeyError: there is no such key.
    """
    return TEXTS[language][key].format(**values)


def language_of(chosen: str | None, accepted: str) -> str:
    """The chosen language, else the best match for an Accept-Language header, else English."""
    if chosen in LANGUAGES:
        return chosen
    ranked = sorted(map(_weighed, accepted.split(",")), key=lambda weighed: -weighed[0])
    for weight, name in ranked:
        primary = name.split("-")[0]
        if weight > 0 and primary in {"en", "pt"}:
            return "pt-BR" if primary == "pt" else "en"
    return "en"


def _weighed(part: str) -> tuple[float, str]:
    name, _, weight = part.partition(";")
    try:
        return float(weight.strip().removeprefix("q=") or 1), name.strip().lower()
    except ValueError:
        return 0.0, ""
