"""Remedies: every error code of an attachment has texts in every language."""

from __future__ import annotations

import re

import pytest

from pipeline.errors import Code
from pipeline.remedies import LANGUAGES, NOT_RESULT_CODES, english, portuguese, remedy
from tests.support.system import ROOT

ENDINGS = sorted(set(Code) - NOT_RESULT_CODES)
SETTING = re.compile(r"\b[A-Z]+(?:_[A-Z]+)+\b")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("code", ENDINGS)
def test_every_code_has_a_remedy(code: Code, language: str) -> None:
    told = remedy(code, language=language)
    assert told is not None
    for text in told:
        assert text.endswith(".")
        assert text[0].isupper()
        assert not re.search(r"[a-z]_[a-z]", text), "a code is no plain word"


def test_both_languages_have_the_same_codes() -> None:
    assert list(english.TEXTS) == list(portuguese.TEXTS)
    assert not [code for code in english.TEXTS if english.TEXTS[code] == portuguese.TEXTS[code]]
    assert not set(english.TEXTS) & NOT_RESULT_CODES


def test_remedies_name_existing_settings() -> None:
    known = (ROOT / ".env.example").read_text()
    for code, texts in english.TEXTS.items():
        named = SETTING.findall(" ".join(texts))
        assert named == SETTING.findall(" ".join(portuguese.TEXTS[code])), code
        for name in named if code in set(Code) else ():
            assert f"{name}=" in known, (code, name)


def test_unknown_code_has_no_remedy() -> None:
    assert remedy(None) is None
    assert remedy("<b>no code</b>", language="pt-BR") is None


def test_codes_without_remedy_are_not_raised_by_the_steps() -> None:
    """Only the steps end attachments, so none of them may name one of these codes."""
    steps = [*(ROOT / "pipeline" / "steps").glob("*.py"), ROOT / "pipeline" / "security" / "whatsapp_media.py"]
    assert len(steps) > 6
    for path in steps:
        for code in NOT_RESULT_CODES:
            assert f"Code.{code.name}" not in path.read_text(), (path.name, code)
