"""`/.well-known/security.txt`: the form of RFC 9116 if a contact is set, else no such page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from esteira.web.api.security_txt import security_txt
from pipeline.config.settings import load_settings
from pipeline.errors import SettingsError
from tests.support.system import RunningSystem
from tests.support.web import app_client

PATH = "/.well-known/security.txt"


def test_without_a_contact_there_is_no_page(system: RunningSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    with app_client(system, monkeypatch) as client:
        assert client.get(PATH).status_code == 404


def test_page_needs_no_token_and_has_contact_and_expiry(system: RunningSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECURITY_CONTACT", "mailto:security@example.com, https://example.com/report")
    monkeypatch.setenv("SECURITY_POLICY", "https://example.com/security")
    with app_client(system, monkeypatch) as client:
        client.headers.pop("authorization")
        answer = client.get(PATH)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    lines = answer.text.splitlines()
    assert lines[:2] == ["Contact: mailto:security@example.com", "Contact: https://example.com/report"]
    assert lines[3:] == ["Policy: https://example.com/security"]
    expires = datetime.fromisoformat(lines[2].removeprefix("Expires: "))
    assert timedelta(days=178) < expires - datetime.now(UTC) <= timedelta(days=180)


def test_expiry_is_a_midnight() -> None:
    settings = load_settings(_env_file=None, security_contact="mailto:security@example.com")
    now = datetime(2026, 12, 1, 4, 30, 15, tzinfo=UTC)
    assert security_txt(settings, now=now) == "Contact: mailto:security@example.com\nExpires: 2027-05-30T00:00:00Z\n"


@pytest.mark.parametrize(
    "contact",
    [
        "security@example.com",
        "http://example.com",
        "mailto:a@b@c",
        "mailto:a b@c.example",
        "https://x/\nContact: y",
        "x",
    ],
)
def test_contact_of_another_form_is_refused(contact: str) -> None:
    with pytest.raises(SettingsError, match="SECURITY_CONTACT"):
        load_settings(_env_file=None, security_contact=contact)


@pytest.mark.parametrize("policy", ["http://example.com", "mailto:a@b.example", "https://example.com/\nExpires: x"])
def test_policy_of_another_form_is_refused(policy: str) -> None:
    with pytest.raises(SettingsError, match="SECURITY_POLICY"):
        load_settings(_env_file=None, security_policy=policy)
