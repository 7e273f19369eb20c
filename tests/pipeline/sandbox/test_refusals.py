"""A refusal keeps its reason and numbers between the processes, and nothing else gets through."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Code, PermanentError, RetryableError
from pipeline.sandbox.refusals import MAX_NUMBER, RETRYABLE, VOCABULARIES, Reason, Refusal, parse_refusal


def values_of(reason: Reason) -> dict[str, Any]:
    """Values for all fields of a reason."""
    return {field: min(VOCABULARIES[field]) if field in VOCABULARIES else 7 for field in reason.fields}


@pytest.mark.parametrize("reason", list(Reason), ids=lambda reason: reason.name)
def test_each_reason_survives_the_way_to_the_parent(reason: Reason) -> None:
    refusal = Refusal(reason, **values_of(reason))
    error = parse_refusal(json.loads(json.dumps(refusal.answer)))
    assert type(error) is (RetryableError if reason.code in RETRYABLE else PermanentError)
    assert (error.code, error.message) == (refusal.code, refusal.message)
    assert "{" not in error.message


# What lifts the refusals of a code; a code may have a reason that nothing lifts.
SETTINGS = {
    Code.TOO_MANY_PIXELS: {"MAX_IMAGE_MPX"},
    Code.TOO_MANY_FRAMES: {"MAX_FRAMES", "MAX_IMAGE_MPX"},
    Code.TOO_MANY_PAGES: {"MAX_PAGES"},
    Code.TOO_LONG: {"MAX_DURATION_S"},
    Code.EXPANDS_TOO_FAR: {"MAX_EXPANSION_RATIO", "MAX_ENTRIES"},
    Code.ACTIVE_CONTENT: {"ACTIVE_DOCUMENTS"},
    Code.TOO_COSTLY: {"SANDBOX_MEMORY_MB"},
}
NOT_LIFTED = {Reason.NESTED_TOO_DEEP}


@pytest.mark.parametrize("code", SETTINGS)
def test_a_refusal_that_a_setting_lifts_names_it(code: Code) -> None:
    reasons = [reason for reason in Reason if reason.code == code and reason not in NOT_LIFTED]
    named = [set(re.findall(r"[A-Z]+(?:_[A-Z]+)+", reason.text)) for reason in reasons]
    assert all(named)
    assert set().union(*named) == SETTINGS[code]


numbers = st.one_of(
    st.integers(), st.floats(), st.booleans(), st.text(), st.none(), st.lists(st.integers(), max_size=2)
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda parts: st.one_of(st.lists(parts, max_size=3), st.dictionaries(st.text(), parts, max_size=3)),
    max_leaves=10,
)


@given(pages=numbers, allowed=numbers)
def test_only_bounded_numbers_get_into_a_text(pages: Any, allowed: Any) -> None:
    error = parse_refusal(["TOO_MANY_PAGES", {"pages": pages, "allowed": allowed}])
    plausible = [
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and abs(value) <= MAX_NUMBER
        for value in (pages, allowed)
    ]
    assert (error is not None) is all(plausible)


@given(text=st.text())
def test_only_words_of_the_vocabulary_get_into_a_text(text: str) -> None:
    for reason in (Reason.NOT_DECODABLE, Reason.ACTIVE_CONTENT, Reason.NO_STREAM, Reason.CRASHED, Reason.UNREADABLE):
        [field] = reason.fields
        error = parse_refusal([reason.name, {field: text}])
        assert (error is not None) is (text in VOCABULARIES[field])


@given(answer=JSON)
def test_other_answers_are_no_refusal(answer: Any) -> None:
    assert parse_refusal(answer) is None
