from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.config.settings import Settings, load_settings
from pipeline.errors import SettingsError
from tests.support.webhooks import OLDER, SECRET, endpoints

PLACE = "https://crm.example/secret-path"


def load(**given: Any) -> Settings:
    return load_settings(_env_file=None, **given)


def test_without_any_setting_there_is_no_endpoint() -> None:
    assert load().endpoints == ()


def test_the_endpoint_of_webhook_url_is_the_first_and_called_default() -> None:
    given = endpoints({"name": "crm", "url": PLACE, "types": ["media.done"], "sessions": ["a", "b-*"]})
    first, second = load(webhook_url="https://a.example/", webhook_secret=SECRET, webhook_endpoints=given).endpoints
    assert (first.name, first.types, first.sessions) == ("default", frozenset(), ())
    assert (second.name, second.types, second.sessions) == ("crm", {"media.done"}, ("a", "b-*"))


def test_several_secrets_stand_in_a_list_or_between_commas_the_newest_first() -> None:
    given = endpoints({"name": "crm", "url": PLACE, "secret": [SECRET, OLDER]})
    made = load(webhook_url=PLACE, webhook_secret=f"{OLDER},{SECRET}", webhook_endpoints=given).endpoints
    found = [[secret.get_secret_value() for secret in one.secrets] for one in made]
    assert found == [[OLDER, SECRET], [SECRET, OLDER]]


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("no json", "must be a JSON list"),
        ('{"name": "a"}', "must be a JSON list"),
        (["text"], "endpoint 1 needs a name"),
        ([{"name": "a b", "url": PLACE, "secret": SECRET}], "endpoint 1 needs a name"),
        ([{"name": "a|b", "url": PLACE, "secret": SECRET}], "endpoint 1 needs a name"),
        ([{"name": "a", "secret": SECRET}], "a: url: Field required"),
        ([{"name": "a", "url": PLACE}], "a: secret: Field required"),
        ([{"name": "a", "url": PLACE, "secret": []}], "a: secret: "),
        ([{"name": "a", "url": PLACE, "secret": SECRET, "filter": 1}], "a: filter: Extra inputs"),
        ([{"name": "a", "url": PLACE, "secret": "tiny-secret"}], "a: a secret is too short"),
        ([{"name": "a", "url": PLACE, "secret": "whsec_c2hvcnQtc2VjcmV0"}], "a: a secret is too short"),
        ([{"name": "a", "url": PLACE, "secret": [SECRET, "whsec_!!no-secret-64!!"]}], "a: a secret is not base64"),
        ([{"name": "a", "url": PLACE, "secret": SECRET, "types": ["media.gone"]}], "a: unknown event 'media.gone'"),
        ([{"name": "a", "url": PLACE, "secret": SECRET, "sessions": [""]}], "a: sessions: a pattern is empty"),
        ([{"name": "a", "url": PLACE, "secret": SECRET}] * 2, "'a' is used twice"),
    ],
)
def test_a_wrong_list_of_endpoints_is_named_with_its_fault_and_never_shown(value: Any, fault: str) -> None:
    text = value if isinstance(value, str) else json.dumps(value)
    with pytest.raises(SettingsError, match=r"^bad_setting: WEBHOOK_ENDPOINTS: ") as caught:
        load(webhook_endpoints=text)
    assert fault in caught.value.message
    assert "secret-path" not in str(caught.value)
    assert SECRET not in str(caught.value)
    assert "c2hvcnQ" not in str(caught.value)


def test_default_is_the_name_of_the_one_at_webhook_url_alone() -> None:
    given = endpoints({"name": "default", "url": PLACE})
    assert [one.name for one in load(webhook_endpoints=given).endpoints] == ["default"]
    with pytest.raises(SettingsError, match="WEBHOOK_ENDPOINTS: 'default' is the name of WEBHOOK_URL's endpoint"):
        load(webhook_endpoints=given, webhook_url=PLACE, webhook_secret=SECRET)


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (",", "is too short"),
        (f"{SECRET},tiny", "is too short"),
        ("whsec_!!!not-base64!!!", "is not base64"),
        ("whsec_" + "=" * 16, "is not base64"),
        ("just some words, no base64", "is too short"),
        ("just_some_words,no_base64_at_all!", "is too short"),
    ],
)
def test_a_wrong_secret_is_named_and_not_shown(value: str, fault: str) -> None:
    with pytest.raises(SettingsError, match=f"WEBHOOK_SECRET: {fault}") as caught:
        load(webhook_secret=value, webhook_url=PLACE)
    assert value not in str(caught.value)


def test_every_url_and_every_secret_is_one_that_no_log_may_show() -> None:
    given = endpoints({"name": "crm", "url": PLACE, "secret": [SECRET, OLDER]})
    settings = load(webhook_endpoints=given, webhook_url="https://a.example/x", webhook_secret=f"{OLDER},{SECRET}")
    assert {PLACE, SECRET, OLDER, SECRET.removeprefix("whsec_"), "https://a.example/x"} <= set(settings.secrets())
    shown = f"{settings!r} {settings.endpoints!r} {settings.model_dump_json()}"
    assert not any(secret in shown for secret in settings.secrets())


@pytest.mark.parametrize("value", ["", ",", "5,x", "0", "-1", "nan", "1,,x", str(31 * 86_400)])
def test_a_schedule_is_a_list_of_waits_in_seconds(value: str) -> None:
    with pytest.raises(SettingsError, match="WEBHOOK_RETRY_S"):
        load(webhook_retry_s=value)


def test_the_schedule_goes_on_for_three_days_unless_another_is_set() -> None:
    assert 3 * 86_400 < sum(load().webhook_retry_s) < 4 * 86_400
    assert load(webhook_retry_s="1, 2.5").webhook_retry_s == (1.0, 2.5)
