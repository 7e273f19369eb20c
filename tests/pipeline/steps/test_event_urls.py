"""The `url` of events: a link that the web app opens, or the address in storage."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr

from pipeline.config.settings import load_settings
from pipeline.errors import SettingsError
from pipeline.models import Record, Stage, Status
from pipeline.security.tokens import MAX_LINK_S, TokenSigner
from pipeline.steps.event_urls import EventUrls
from pipeline.storage import LocalStorage

TOKEN = "0123456789abcdef" * 2
KEY = f"ab/{'ab' * 32}"


def record(**fields: Any) -> Record:
    return Record.model_validate(
        {
            "id": "0123456789abcdef" * 2, "gateway": "waha", "session": "shop", "message_id": "m1", "part": 0,
            "status": Status.STORED, "stage": Stage.NOTIFY, "received_at": 1, "storage_key": KEY, **fields,
        }
    )  # fmt: skip


def url_of(folder: Path, item: Record, **settings: Any) -> str | None:
    return EventUrls(load_settings(**settings), LocalStorage(folder)).of(item)


def test_event_url_is_a_link_that_is_valid_for_seven_days(tmp_path: Path) -> None:
    url = url_of(tmp_path, record(), api_token=TOKEN, public_url="https://media.example/base/")
    assert url is not None
    parts, query = urlsplit(url), parse_qs(urlsplit(url).query)
    assert (parts.scheme, parts.netloc, parts.path) == ("https", "media.example", f"/base/media/{record().id}/content")
    expires, signature = query["expires"][0], query["signature"][0]
    now = TokenSigner(SecretStr(TOKEN), clock=lambda: int(expires) - MAX_LINK_S)
    later = TokenSigner(SecretStr(TOKEN), clock=lambda: int(expires))
    assert now.is_valid_link(record().id, expires, signature)
    assert not later.is_valid_link(record().id, expires, signature)
    assert not now.is_valid_link("f" * 32, expires, signature)


@pytest.mark.parametrize("settings", [{}, {"api_token": TOKEN, "event_url": "store"}])
def test_event_url_is_in_storage_without_a_token_or_on_request(tmp_path: Path, settings: dict[str, str]) -> None:
    assert url_of(tmp_path, record(), **settings) == (tmp_path / KEY).as_uri()


def test_event_url_is_none_without_content(tmp_path: Path) -> None:
    assert url_of(tmp_path, record(storage_key=None), api_token=TOKEN) is None


@pytest.mark.parametrize(
    ("settings", "base"),
    [
        ({}, "http://127.0.0.1:8000"),
        ({"web_host": "0.0.0.0", "port": 81}, "http://127.0.0.1:81"),
        ({"web_host": "::"}, "http://[::1]:8000"),
        ({"web_host": "10.0.0.7"}, "http://10.0.0.7:8000"),
        ({"public_url": "https://media.example"}, "https://media.example"),
        ({"public_url": "http://10.0.0.7:81/esteira/"}, "http://10.0.0.7:81/esteira"),
    ],
)
def test_base_url_is_the_public_address_or_that_of_this_machine(settings: dict[str, Any], base: str) -> None:
    assert load_settings(**settings).base_url == base


@pytest.mark.parametrize(
    "value",
    [
        "media.example",
        "ftp://media.example",
        "https://a:b@media.example",
        "https://m.example/?a=b",
        "https://m/#x",
        "/x",
    ],
)
def test_public_url_that_is_no_address_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match=r"PUBLIC_URL.*https://media\.example\.com"):
        load_settings(public_url=value)
