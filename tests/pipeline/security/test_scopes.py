"""Scopes: which sessions a pattern includes, whatever characters their names have."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.security.scopes import (
    ALL_SESSIONS,
    NO_SESSIONS,
    Scope,
    SessionPattern,
    one_session,
    parse_pattern,
    parse_scope,
    split_list,
)

# Names as strangers choose them: with all characters that mean something in a pattern.
names = st.text(alphabet=st.sampled_from("ab*:,\\% _?[]é\u0130\x00\n"), min_size=1, max_size=8) | st.text(
    min_size=1, max_size=20
)
patterns = st.builds(SessionPattern, st.none() | names, names, st.booleans())


@given(patterns, names, names)
@example(SessionPattern("waha", "*"), "waha", "shop")
@example(SessionPattern("*", "shop"), "waha", "shop")
@example(SessionPattern("waha", "a\\*"), "waha", "a\\b")
def test_pattern_written_as_text_is_the_same_pattern(pattern: SessionPattern, gateway: str, session: str) -> None:
    parsed = parse_pattern(str(pattern))
    assert parsed == pattern
    assert parsed.includes(gateway, session) == pattern.includes(gateway, session)


@given(names, names, names, names)
def test_name_of_a_session_never_includes_another_session(
    gateway: str, session: str, other_gateway: str, other_session: str
) -> None:
    scope = parse_scope(one_session(gateway, session).texts())
    assert scope.includes(gateway, session)
    assert scope.includes(other_gateway, other_session) == ((gateway, session) == (other_gateway, other_session))


@given(st.lists(patterns, min_size=1, max_size=5, unique=True))
def test_scope_written_as_a_list_is_the_same_scope(chosen: list[SessionPattern]) -> None:
    scope = Scope(tuple(chosen))
    assert parse_scope(scope.texts()) == scope


@given(st.lists(st.text(alphabet="ab\\,:*", min_size=1), min_size=1))
def test_commas_inside_of_a_pattern_are_kept_with_a_backslash(names: list[str]) -> None:
    texts = [str(SessionPattern("waha", name)) for name in names]
    assert split_list(",".join(texts)) == texts


@pytest.mark.parametrize(
    ("text", "included", "excluded"),
    [
        ("waha:shop", [("waha", "shop")], [("evolution", "shop"), ("waha", "shop-1"), ("waha", "SHOP"), ("waha", "")]),
        ("waha:shop-*", [("waha", "shop-"), ("waha", "shop-é")], [("waha", "shop"), ("evolution", "shop-1")]),
        ("*:shop", [("waha", "shop"), ("evolution", "shop")], [("waha", "shop:x"), ("shop", "waha")]),
        ("waha:*", [("waha", "anything"), ("waha", "*")], [("cloud", "anything")]),
        ("waha:a:b", [("waha", "a:b")], [("waha:a", "b")]),
        ("waha\\:a:b", [("waha:a", "b")], [("waha", "a:b")]),
        ("waha:50\\*", [("waha", "50*")], [("waha", "500")]),
        ("waha:50\\\\*", [("waha", "50\\"), ("waha", "50\\x")], [("waha", "50*")]),
    ],
)
def test_pattern_includes(text: str, included: list[tuple[str, str]], excluded: list[tuple[str, str]]) -> None:
    scope = parse_scope([text])
    assert all(scope.includes(*session) for session in included)
    assert not any(scope.includes(*session) for session in excluded)


@pytest.mark.parametrize(
    "text", ["shop", "", ":", "waha:", ":shop", "wa*:shop", "waha:s*p", "waha:**", "waha:a\\", f"waha:{'x' * 513}"]
)
def test_wrong_pattern_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"write|pattern"):
        parse_scope([text])


def test_all_sessions_is_one_star_alone() -> None:
    assert parse_scope(["*"]) == ALL_SESSIONS
    assert ALL_SESSIONS.includes("any", "session")
    assert not NO_SESSIONS.includes("any", "session")
    for wrong in ([], ["*", "waha:shop"], ["waha:a"] * 101):
        with pytest.raises(ValueError, match=r"pattern|gateway"):
            parse_scope(wrong)


@pytest.mark.parametrize(
    ("texts", "gateways", "expected"),
    [
        (["*"], [], True),
        (["*:shop"], [], True),
        (["*:sh*"], ["waha", "cloud"], True),
        (["waha:shop"], ["waha"], True),
        (["waha:shop"], ["waha", "cloud"], False),
        (["waha:shop", "cloud:s*"], ["waha", "cloud"], True),
        (["waha:shop"], [], False),
        (["waha:other"], ["waha"], False),
    ],
)
def test_scope_includes_a_name_only_with_all_its_gateways(
    texts: list[str], gateways: list[str], expected: bool
) -> None:
    assert parse_scope(texts).includes_name("shop", gateways) is expected
