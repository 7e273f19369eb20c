"""Every code that an attachment can end with is told in plain words, in every language."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.errors import Code
from pipeline.remedies import LANGUAGES, NOT_ENDINGS, english, portuguese, remedy
from tests.support.system import ROOT

ENDINGS = sorted(set(Code) - NOT_ENDINGS)
SETTING = re.compile(r"\b[A-Z]+(?:_[A-Z]+)+\b")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("code", ENDINGS)
def test_every_ending_says_what_happened_and_what_to_do(code: Code, language: str) -> None:
    told = remedy(code, language=language)
    assert told is not None
    for text in told:
        assert text.endswith(".")
        assert text[0].isupper()
        assert not re.search(r"[a-z]_[a-z]", text), "a code is no plain word"


def test_both_languages_tell_of_the_same_codes() -> None:
    assert list(english.TEXTS) == list(portuguese.TEXTS)
    assert not [code for code in english.TEXTS if english.TEXTS[code] == portuguese.TEXTS[code]]
    assert not set(english.TEXTS) & NOT_ENDINGS


def test_every_setting_that_a_remedy_names_exists_and_is_named_in_both() -> None:
    known = (ROOT / ".env.example").read_text()
    for code, texts in english.TEXTS.items():
        named = SETTING.findall(" ".join(texts))
        assert named == SETTING.findall(" ".join(portuguese.TEXTS[code])), code
        for name in named if code in set(Code) else ():
            assert f"{name}=" in known, (code, name)


def test_what_is_no_code_has_no_remedy() -> None:
    assert remedy(None) is None
    assert remedy("<b>no code</b>", language="pt-BR") is None


def test_what_only_answers_a_caller_is_never_an_ending() -> None:
    """The steps, which alone bring attachments to their end, name none of these codes."""
    steps = [path for path in (ROOT / "pipeline").glob("*.py") if path.stem in STEPS]
    assert len(steps) == len(STEPS)
    for path in steps:
        for code in NOT_ENDINGS:
            assert f"Code.{code.name}" not in Path(path).read_text(), (path.name, code)


STEPS = {"fetch", "detect", "validate", "persist", "notify", "whatsapp"}
