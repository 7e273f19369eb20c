"""Settings of webhook endpoints: names, secrets, filters, retry schedule and their errors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.config.settings import Settings, load_settings
from pipeline.errors import SettingsError
from tests.support.webhooks import OLDER, SECRET, endpoints

URL = "https://crm.example/secret-path"


def load(**values: Any) -> Settings:
    return load_settings(_env_file=None, **values)


def test_no_endpoints_by_default() -> None:
    assert load().endpoints == ()


def test_endpoint_of_webhook_url_is_first_and_named_default() -> None:
    listed = endpoints({"name": "crm", "url": URL, "types": ["media.done"], "sessions": ["a", "b-*"]})
    first, second = load(webhook_url="https://a.example/", webhook_secret=SECRET, webhook_endpoints=listed).endpoints
    assert (first.name, first.types, first.sessions) == ("default", frozenset(), ())
    assert (second.name, second.types, second.sessions) == ("crm", {"media.done"}, ("a", "b-*"))


def test_several_secrets_are_read_from_a_list_or_comma_separated() -> None:
    listed = endpoints({"name": "crm", "url": URL, "secret": [SECRET, OLDER]})
    loaded = load(webhook_url=URL, webhook_secret=f"{OLDER},{SECRET}", webhook_endpoints=listed).endpoints
    secrets = [[secret.get_secret_value() for secret in endpoint.secrets] for endpoint in loaded]
    assert secrets == [[OLDER, SECRET], [SECRET, OLDER]]


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("no json", "must be a JSON list"),
        ('{"name": "a"}', "must be a JSON list"),
        (["text"], "endpoint 1 needs a name"),
        ([{"name": "a b", "url": URL, "secret": SECRET}], "endpoint 1 needs a name"),
        ([{"name": "a|b", "url": URL, "secret": SECRET}], "endpoint 1 needs a name"),
        ([{"name": "a", "secret": SECRET}], "a: url: Field required"),
        ([{"name": "a", "url": URL}], "a: secret: Field required"),
        ([{"name": "a", "url": URL, "secret": []}], "a: secret: "),
        ([{"name": "a", "url": URL, "secret": SECRET, "filter": 1}], "a: filter: Extra inputs"),
        ([{"name": "a", "url": URL, "secret": "tiny-secret"}], "a: a secret is too short"),
        ([{"name": "a", "url": URL, "secret": "whsec_c2hvcnQtc2VjcmV0"}], "a: a secret is too short"),
        ([{"name": "a", "url": URL, "secret": [SECRET, "whsec_!!no-secret-64!!"]}], "a: a secret is not base64"),
        ([{"name": "a", "url": URL, "secret": SECRET, "types": ["media.gone"]}], "a: unknown event 'media.gone'"),
        ([{"name": "a", "url": URL, "secret": SECRET, "sessions": [""]}], "a: sessions: a pattern is empty"),
        ([{"name": "a", "url": URL, "secret": SECRET}] * 2, "'a' is used twice"),
    ],
)
def test_invalid_endpoint_list_is_reported_without_secrets(value: Any, fault: str) -> None:
    text = value if isinstance(value, str) else json.dumps(value)
    with pytest.raises(SettingsError, match=r"^bad_setting: WEBHOOK_ENDPOINTS: ") as caught:
        load(webhook_endpoints=text)
    assert fault in caught.value.message
    assert "secret-path" not in str(caught.value)
    assert SECRET not in str(caught.value)
    assert "c2hvcnQ" not in str(caught.value)


def test_name_default_is_reserved_if_webhook_url_is_set() -> None:
    listed = endpoints({"name": "default", "url": URL})
    assert [endpoint.name for endpoint in load(webhook_endpoints=listed).endpoints] == ["default"]
    with pytest.raises(SettingsError, match="WEBHOOK_ENDPOINTS: 'default' is the name of WEBHOOK_URL's endpoint"):
        load(webhook_endpoints=listed, webhook_url=URL, webhook_secret=SECRET)


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
def test_invalid_webhook_secret_is_reported_and_not_shown(value: str, fault: str) -> None:
    with pytest.raises(SettingsError, match=f"WEBHOOK_SECRET: {fault}") as caught:
        load(webhook_secret=value, webhook_url=URL)
    assert value not in str(caught.value)


def test_urls_and_secrets_of_endpoints_are_secrets() -> None:
    listed = endpoints({"name": "crm", "url": URL, "secret": [SECRET, OLDER]})
    settings = load(webhook_endpoints=listed, webhook_url="https://a.example/x", webhook_secret=f"{OLDER},{SECRET}")
    assert {URL, SECRET, OLDER, SECRET.removeprefix("whsec_"), "https://a.example/x"} <= set(settings.secrets())
    printed = f"{settings!r} {settings.endpoints!r} {settings.model_dump_json()}"
    assert not any(secret in printed for secret in settings.secrets())


@pytest.mark.parametrize("value", ["", ",", "5,x", "0", "-1", "nan", "1,,x", str(31 * 86_400)])
def test_invalid_retry_schedule_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match="WEBHOOK_RETRY_S"):
        load(webhook_retry_s=value)


def test_retry_schedule_lasts_three_days_by_default() -> None:
    assert 3 * 86_400 < sum(load().webhook_retry_s) < 4 * 86_400
    assert load(webhook_retry_s="1, 2.5").webhook_retry_s == (1.0, 2.5)
