"""INTAKE_RULES: the setting, and which attachments its rules refuse."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipeline.config.intake_rules import IntakeRule, as_intake_rules, refusing_rule
from pipeline.config.settings import load_settings
from pipeline.errors import SettingsError
from pipeline.models import Attachment, Kind


def rules(*given: dict[str, Any]) -> tuple[IntakeRule, ...]:
    """The rules of a setting with these objects."""
    found: tuple[IntakeRule, ...] = as_intake_rules(json.dumps(given))
    return found


def attachment(**fields: Any) -> Attachment:
    return Attachment.model_validate({"session": "shop-1", "message_id": "m", "url": "https://e.example/x", **fields})


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("sticker", "must be a JSON list"),
        ("{}", "must be a JSON list"),
        ('[{"take": false}', "must be a JSON list"),
        ("[" * 50_000, "must be a JSON list"),
        ('[{"take": NaN}]', "must be a JSON list"),
        ("[1]", "rule 1: must be an object"),
        ('[{"take": false}, {"kind": ["image"], "take": true}]', "rule 2: kind: is not known; the fields are sessions"),
        ('[{"kinds": ["image"]}]', "rule 1: take: is missing"),
        ('[{"take": "false"}]', "rule 1: take: must be true or false"),
        ('[{"take": 0}]', "rule 1: take: must be true or false"),
        ('[{"take": null}]', "rule 1: take: is null"),
        ('[{"take": false, "from_me": "yes"}]', "rule 1: from_me: must be true or false"),
        ('[{"take": false, "kinds": ["photo"]}]', "rule 1: kinds: must be a list of image, video"),
        ('[{"take": false, "kinds": "image"}]', "rule 1: kinds: must be a list of image, video"),
        ('[{"take": false, "kinds": []}]', "rule 1: kinds: is empty"),
        ('[{"take": false, "sessions": []}]', "rule 1: sessions: is empty"),
        ('[{"take": false, "sessions": "shop-*"}]', "rule 1: sessions: must be a list of names or patterns"),
        ('[{"take": false, "chats": [1]}]', "rule 1: chats: must be a list of addresses"),
        ('[{"take": false, "senders": [""]}]', "rule 1: senders: must be a list of addresses"),
        ('[{"take": false, "larger_mb": "5"}]', "rule 1: larger_mb: must be a number of megabytes"),
        ('[{"take": false, "larger_mb": true}]', "rule 1: larger_mb: must be a number of megabytes"),
        ('[{"take": false, "larger_mb": -1}]', "rule 1: larger_mb: must be a number of megabytes"),
        ('[{"take": false, "larger_mb": 1e999}]', "rule 1: larger_mb: must be a number of megabytes"),
        (json.dumps([{"take": True}] * 1001), "at most 1000"),
    ],
)
def test_wrong_rule_is_refused_with_its_number_and_field(
    value: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTAKE_RULES", value)
    with pytest.raises(SettingsError) as caught:
        load_settings(_env_file=None)
    assert "INTAKE_RULES" in caught.value.message
    assert words in caught.value.message


def test_rules_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTAKE_RULES", '[{"kinds": ["sticker"], "take": false}, {"take": true}]')
    found = load_settings(_env_file=None).intake_rules
    assert [str(rule) for rule in found] == ["ignore kinds sticker", "accept everything"]
    assert load_settings(_env_file=None, intake_rules=()).intake_rules == ()


@pytest.mark.parametrize(
    ("rule", "fields", "fits"),
    [
        ({}, {}, True),
        ({"sessions": ["shop-*"]}, {}, True),
        ({"sessions": ["Shop-*"]}, {}, False),
        ({"sessions": ["shop-?", "x"]}, {"session": "shop-12"}, False),
        ({"sessions": ["shop[1]"]}, {"session": "shop[1]"}, True),
        ({"chats": ["status@broadcast"]}, {"chat": "status@broadcast"}, True),
        ({"chats": ["*@g.us"]}, {"chat": "1203@g.us"}, True),
        ({"chats": ["*"]}, {}, False),
        ({"chats": ["5511*"]}, {"chat": "9@lid", "chat_number": "5511999990000"}, True),
        ({"senders": ["5511*"]}, {"sender": "9@lid", "sender_number": "5511999990000"}, True),
        ({"senders": ["5511*"]}, {"chat": "5511999990000"}, False),
        ({"kinds": ["sticker", "ptt"]}, {"kind": "ptt"}, True),
        ({"kinds": ["sticker"]}, {}, False),
        ({"larger_mb": 1}, {"size": 1_000_001}, True),
        ({"larger_mb": 1}, {"size": 1_000_000}, False),
        ({"larger_mb": 0.5}, {"size": 500_001}, True),
        ({"larger_mb": 0}, {}, False),
        ({"larger_mb": 0.003}, {"size": 10, "data": "QUJD" * 1001}, True),
        ({"larger_mb": 0.003}, {"size": 10**9, "data": "QUJD" * 1000}, False),
        ({"from_me": True}, {"from_me": True}, True),
        ({"from_me": True}, {}, False),
        ({"from_me": False}, {}, True),
        ({"from_me": False}, {"from_me": True}, False),
        ({"from_me": True, "kinds": ["image"]}, {"from_me": True, "kind": "video"}, False),
    ],
)
def test_rule_fits_what_meets_all_of_its_conditions(rule: Any, fields: Any, fits: bool) -> None:
    assert refusing_rule(rules({**rule, "take": False}), attachment(**fields)) == (1 if fits else None)


def test_size_of_a_file_takes_precedence_over_the_declared_one() -> None:
    large = rules({"larger_mb": 1, "take": False})
    assert refusing_rule(large, attachment(size=10), size=2_000_000) == 1
    assert refusing_rule(large, attachment(size=2_000_000), size=10) is None


def test_first_rule_that_fits_decides() -> None:
    found = rules(
        {"sessions": ["vip"], "take": True},
        {"kinds": ["sticker"], "take": False},
        {"chats": ["*@newsletter"], "take": False},
    )
    assert refusing_rule(found, attachment(session="vip", kind="sticker")) is None
    assert refusing_rule(found, attachment(kind="sticker", chat="1@newsletter")) == 2
    assert refusing_rule(found, attachment(chat="1@newsletter")) == 3
    assert refusing_rule(found, attachment()) is None
    assert refusing_rule((), attachment(kind="sticker")) is None


NAMES = st.text("ab*?[]!-@.\n", min_size=1, max_size=6)
RULE = st.fixed_dictionaries(
    {"take": st.booleans()},
    optional={
        "sessions": st.lists(NAMES, min_size=1, max_size=3),
        "chats": st.lists(NAMES, min_size=1, max_size=3),
        "kinds": st.lists(st.sampled_from(list(Kind)), min_size=1, max_size=3),
        "larger_mb": st.integers(0, 3) | st.floats(0, 3),
        "from_me": st.booleans(),
    },
)
MESSAGE = st.fixed_dictionaries(
    {"session": NAMES.filter(str.strip)},
    optional={
        "chat": NAMES,
        "chat_number": NAMES,
        "kind": st.sampled_from(list(Kind)),
        "size": st.integers(1, 4_000_000),
        "from_me": st.booleans(),
    },
)


def fits(rule: dict[str, Any], one: Attachment) -> bool:
    """What the documentation says about one rule, written in another way."""

    def named(patterns: list[str], *values: str | None) -> bool:
        return any(value in patterns or any(fnmatchcase(value, p) for p in patterns) for value in values if value)

    conditions = {
        "sessions": lambda names: named(names, one.session),
        "chats": lambda names: named(names, one.chat, one.chat_number),
        "kinds": lambda kinds: one.kind in kinds,
        "larger_mb": lambda limit: (one.size or -1) > limit * 1_000_000,
        "from_me": lambda own: own == (one.from_me is True),
    }
    return all(test(rule[name]) for name, test in conditions.items() if name in rule)


@hypothesis_settings(deadline=None)
@given(st.lists(RULE, max_size=4), MESSAGE)
def test_first_fitting_rule_decides_for_any_rules_and_any_message(given_rules: Any, fields: Any) -> None:
    one = attachment(**fields)
    number, rule = next(((n, r) for n, r in enumerate(given_rules, 1) if fits(r, one)), (None, {"take": True}))
    assert refusing_rule(rules(*given_rules), one) == (None if rule["take"] else number)
