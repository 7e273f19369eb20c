"""What the dashboard says, in English and Portuguese: a module a page, each with the same keys in both languages.

A key is `page.what`; a text may name values as `{count}`. A new module stands in `MODULES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from esteira.web.dashboard.texts import failures, item, media, now, sessions, shell

LANGUAGES = {"en": "English", "pt-BR": "Português (Brasil)"}
MODULES: tuple[ModuleType, ...] = (shell, now, media, item, failures, sessions)
TEXTS: Mapping[str, Mapping[str, str]] = {
    "en": {key: text for module in MODULES for key, text in module.EN.items()},
    "pt-BR": {key: text for module in MODULES for key, text in module.PT_BR.items()},
}


def text(language: str, key: str, **values: object) -> str:
    """The text of a key. Raises KeyError if there is none."""
    return TEXTS[language][key].format(**values)


def language_of(chosen: str | None, accepted: str) -> str:
    """The language to speak: what was chosen, else the first of ours that an Accept-Language header names, else English."""
    if chosen in LANGUAGES:
        return chosen
    ranked = sorted(map(_weighed, accepted.split(",")), key=lambda one: -one[0])
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
