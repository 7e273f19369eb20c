"""The source of an attachment's file, and the choice between WhatsApp's URL and a copy."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.errors import Code, PermanentError
from pipeline.gateways import GATEWAYS, Source, source_of
from pipeline.gateways.sources import declared_source, media_location
from pipeline.models import Attachment
from tests.support.checking import settings

SETTINGS = settings()
PATH = "/v/t62.7118-24/1_2_n.enc?oe=6B0F2A80"
WHATSAPP = f"https://mmg.whatsapp.net{PATH}"
ORIGIN = {"Origin": "https://web.whatsapp.com"}
COPY = "https://minio.example/photo.jpg"


def declared(hosts: tuple[str, ...] = ("mmg.whatsapp.net",), **fields: Any) -> Source:
    attachment = Attachment(session="s", message_id="m", **fields)
    return declared_source(attachment, None, settings(whatsapp_hosts=hosts))


@pytest.mark.parametrize(
    ("fields", "url", "headers"),
    [
        ({"direct_path": PATH}, WHATSAPP, ORIGIN),
        ({"direct_path": PATH, "url": "https://a.example/b"}, WHATSAPP, ORIGIN),
        ({"url": WHATSAPP}, WHATSAPP, ORIGIN),
        ({"url": "https://a.example/b"}, "https://a.example/b", {}),
        ({"url": "https://mmg.whatsapp.net.evil.example/b"}, "https://mmg.whatsapp.net.evil.example/b", {}),
        ({"url": "http://mmg.whatsapp.net/b"}, "http://mmg.whatsapp.net/b", {}),
        ({"url": "https://mmg.whatsapp.net@evil.example/b"}, "https://mmg.whatsapp.net@evil.example/b", {}),
    ],
)
def test_direct_path_is_preferred_and_only_whatsapp_hosts_get_the_origin_header(
    fields: dict[str, str], url: str, headers: dict[str, str]
) -> None:
    source = declared(**fields)
    assert (source.url, source.headers, source.credentials, source.trusted_url) == (url, headers, {}, None)


def test_whatsapp_hosts_are_configurable() -> None:
    source = declared(("one.example", "two.example:8443"), direct_path=PATH)
    assert (source.url, source.headers) == (f"https://one.example{PATH}", ORIGIN)
    assert declared(("one.example", "two.example:8443"), url="https://two.example:8443/x").headers == ORIGIN


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, Code.NO_SOURCE),
        ({"url": "https://web.whatsapp.net"}, Code.NO_SOURCE),
        ({"url": "https://web.whatsapp.net/"}, Code.NO_SOURCE),
        ({"direct_path": "//evil.example/x"}, Code.URL_BLOCKED),
        ({"direct_path": "@evil.example/x", "url": "https://a.example/b"}, Code.URL_BLOCKED),
        ({"direct_path": "/v/../x"}, Code.URL_BLOCKED),
    ],
)
def test_missing_or_malformed_source_is_a_permanent_error(fields: dict[str, str], code: Code) -> None:
    with pytest.raises(PermanentError) as caught:
        declared(**fields)
    assert caught.value.code == code


def test_source_repr_has_neither_url_nor_credentials() -> None:
    source = Source("https://a/?SECRET", credentials={"X-Api-Key": "SECRET"}, trusted_url="https://a")
    assert "SECRET" not in repr(source)


@pytest.mark.parametrize("gateway", ["media", "wppconnect", "evolution", "removed-gateway"])
def test_attachments_of_any_gateway_have_a_source(gateway: str) -> None:
    assert (gateway in GATEWAYS) is (gateway != "removed-gateway")
    attachment = Attachment(gateway=gateway, session="s", message_id="m", direct_path=PATH)
    assert source_of(attachment, None, SETTINGS).url == WHATSAPP


def located(**fields: Any) -> dict[str, Any]:
    return media_location(**{"direct_path": None, "url": None, "media_key": None, "copy": None, **fields})


@pytest.mark.parametrize(
    "fields",
    [
        {"direct_path": PATH, "media_key": "k"},
        {"direct_path": PATH, "media_key": "k", "copy": COPY},
        {"direct_path": PATH, "copy": COPY},
        {"url": WHATSAPP, "media_key": "k", "copy": COPY},
        {"url": WHATSAPP, "media_key": {"0": 1}, "copy": COPY},
        {"url": WHATSAPP},
        {},
    ],
)
def test_whatsapp_location_is_used_if_it_is_usable(fields: dict[str, Any]) -> None:
    expected = {name: value for name, value in fields.items() if name != "copy"}
    assert located(**fields) == {"direct_path": None, "url": None, "media_key": None, **expected}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"direct_path": "", "url": ""},
        {"media_key": "k"},
        {"url": "", "media_key": "k"},
        {"url": WHATSAPP},
        {"url": WHATSAPP, "media_key": ""},
        {"url": WHATSAPP, "media_key": {}},
        {"url": "https://web.whatsapp.net/", "media_key": "k"},
        {"url": ["https://a"], "media_key": "k"},
        {"url": {}, "media_key": "k"},
    ],
)
def test_copy_is_used_without_a_key_if_the_whatsapp_location_is_unusable(fields: dict[str, Any]) -> None:
    assert located(copy=COPY, **fields) == {"url": COPY}
