"""Where an attachment's bytes lie, and which of two places is the better one."""

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
def test_a_direct_path_goes_before_a_url_and_only_whatsapp_sees_the_origin(
    fields: dict[str, str], url: str, headers: dict[str, str]
) -> None:
    source = declared(**fields)
    assert (source.url, source.headers, source.credentials, source.trusted) == (url, headers, {}, None)


def test_the_hosts_of_whatsapp_are_settings() -> None:
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
def test_no_place_or_a_strange_one_is_final(fields: dict[str, str], code: Code) -> None:
    with pytest.raises(PermanentError) as caught:
        declared(**fields)
    assert caught.value.code == code


def test_a_source_shows_neither_its_url_nor_what_is_shown_there() -> None:
    source = Source("https://a/?SECRET", credentials={"X-Api-Key": "SECRET"}, trusted="https://a")
    assert "SECRET" not in repr(source)


@pytest.mark.parametrize("gateway", ["media", "wppconnect", "evolution", "of another time"])
def test_every_gateways_attachments_have_a_source_also_those_of_none_of_ours(gateway: str) -> None:
    assert (gateway in GATEWAYS) is (gateway != "of another time")
    attachment = Attachment(gateway=gateway, session="s", message_id="m", direct_path=PATH)
    assert source_of(attachment, None, SETTINGS).url == WHATSAPP


def place(**given: Any) -> dict[str, Any]:
    return media_location(**{"direct_path": None, "url": None, "media_key": None, "copy": None, **given})


@pytest.mark.parametrize(
    "given",
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
def test_whatsapps_place_is_taken_where_it_is_of_use(given: dict[str, Any]) -> None:
    whatsapps = {name: value for name, value in given.items() if name != "copy"}
    assert place(**given) == {"direct_path": None, "url": None, "media_key": None, **whatsapps}


@pytest.mark.parametrize(
    "given",
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
def test_the_copy_has_no_key_and_is_taken_where_whatsapps_place_is_of_none(given: dict[str, Any]) -> None:
    assert place(copy=COPY, **given) == {"url": COPY}
