"""The form of texts in which a search compares them."""

from __future__ import annotations

import unicodedata

import pytest

from pipeline.catalogue import search


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("REUNI\u00c3O", "reuniao"),
        ("a\u0303o", "ao"),
        ("\ufb01m", "fim"),
        ("\u00c5ngstr\u00f6m", "angstrom"),
        ("stra\u00dfe", "strasse"),
        ("\uff26\uff35\uff2c\uff2c", "full"),
        ("plain", "plain"),
    ],
)
def test_case_and_accents_are_ignored(text: str, expected: str) -> None:
    assert search.plain(text) == expected


def test_marks_are_never_sorted_in_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sorting takes quadratic time: ten thousand captions of such marks made one search take minutes."""
    normalize, lengths = unicodedata.normalize, []

    def record(form: str, text: str) -> str:
        lengths.append(len(text))
        return normalize(form, text)

    monkeypatch.setattr(search.unicodedata, "normalize", record)
    search._plain_character.cache_clear()
    search.plain("\u0591\u05ae" * 3000 + "\u0316\u0301" * 3000 + "\u00e9")
    assert set(lengths) == {1}
