"""The texts of the dashboard in both languages."""

from __future__ import annotations

import re
from string import Formatter

import pytest

from esteira.web.dashboard.texts import MODULES, TEXTS, language_of
from esteira.web.dashboard.view import View


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_languages_have_the_same_keys_and_values(module: object) -> None:
    english, portuguese = module.EN, module.PT_BR  # type: ignore[attr-defined]
    assert list(english) == list(portuguese)
    for key, text in english.items():
        assert re.fullmatch(r"[a-z0-9_.]+", key)
        assert fields(text) == fields(portuguese[key]), key
        assert text.strip()
        assert portuguese[key].strip()


def test_keys_are_unique_across_modules() -> None:
    assert len(TEXTS["en"]) == sum(len(module.EN) for module in MODULES)


@pytest.mark.parametrize(
    ("chosen", "accepted", "language"),
    [
        (None, "", "en"),
        (None, "pt-BR,pt;q=0.9,en;q=0.8", "pt-BR"),
        (None, "pt", "pt-BR"),
        (None, "de-DE,pt;q=0.5,en;q=0.7", "en"),
        (None, "en;q=0,pt;q=0.1", "pt-BR"),
        (None, "fr, *;q=0.5", "en"),
        (None, "pt;q=nonsense,en", "en"),
        ("en", "pt-BR", "en"),
        ("pt-BR", "en", "pt-BR"),
        ("<script>", "pt", "pt-BR"),
    ],
)
def test_language_of_prefers_the_choice_then_the_browser(chosen: str | None, accepted: str, language: str) -> None:
    assert language_of(chosen, accepted) == language


def test_numbers_and_sizes_follow_the_language() -> None:
    english, portuguese = View("en"), View("pt-BR")
    assert (english.number(1234567), portuguese.number(1234567)) == ("1,234,567", "1.234.567")
    assert (english.size(1_234_567), portuguese.size(1_234_567)) == ("1.2 MB", "1,2 MB")
    assert (english.size(999), english.size(250_000)) == ("999 B", "250 kB")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.32, "320 ms"),
        (4.21, "4.2 s"),
        (42.4, "42 s"),
        (200, "3 min 20 s"),
        (18_720, "5 h 12 min"),
        (187_200, "2 d 4 h"),
    ],
)
def test_span_uses_the_largest_units(seconds: float, said: str) -> None:
    assert View("en").span(seconds) == said
