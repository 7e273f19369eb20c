"""Files on GOWA's server: only below `statics/`, with the login for that server alone."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from pipeline.errors import Code, PermanentError, RetryableError
from pipeline.gateways import Source, source_of
from pipeline.models import Attachment
from tests.support.checking import settings
from tests.support.gateway_servers import GowaServer
from tests.support.http_client import download, local_http_client
from tests.support.media_server import Answer, MediaServer

LOGIN = "loja:a:pass"


def located(fields: dict[str, Any], **values: Any) -> Source:
    attachment = Attachment(gateway="gowa", session="s", message_id="m", **fields)
    with_server = {"gowa_url": "http://gowa:3000", "gowa_auth": LOGIN} | values
    return source_of(attachment, local_http_client(allow_private=()), settings(**with_server))


def of_path(path: str, **values: Any) -> Source:
    return located({"remote_id": path}, **values)


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("statics/media/1-a.jpe", "http://gowa:3000/statics/media/1-a.jpe"),
        ("/statics/media/1-a.jpe", "http://gowa:3000/statics/media/1-a.jpe"),
        ("./statics/media/1-a.jpe", "http://gowa:3000/statics/media/1-a.jpe"),
        ("http://gowa:3000/statics/media/1-a.jpe", "http://gowa:3000/statics/media/1-a.jpe"),
        ("http://gowa:3000/statics/media/1%20a.%C3%A7", "http://gowa:3000/statics/media/1%20a.%C3%A7"),
        ("statics/media/5511/2026-06-09/a.ogg", "http://gowa:3000/statics/media/5511/2026-06-09/a.ogg"),
        ("statics/media/1-a.pdf ?x#y", "http://gowa:3000/statics/media/1-a.pdf%20%3Fx%23y"),
        ("statics/media/1-a.ção%41", "http://gowa:3000/statics/media/1-a.%C3%A7%C3%A3o%2541"),
    ],
)
def test_path_is_a_url_on_gowas_server_with_its_login(path: str, url: str) -> None:
    source = of_path(path)
    assert (source.url, source.trusted_url) == (url, "http://gowa:3000")
    assert source.credentials == {"Authorization": f"Basic {base64.b64encode(LOGIN.encode()).decode()}"}
    assert LOGIN not in repr(source)


def test_path_is_below_the_base_path_of_the_server() -> None:
    source = of_path("statics/media/1.jpeg", gowa_url="https://gowa.example/base/", gowa_auth=None)
    assert (source.url, source.credentials) == ("https://gowa.example/base/statics/media/1.jpeg", {})


@pytest.mark.parametrize(
    "path",
    [
        "statics/../app/devices",
        "statics/media/../../app/devices",
        "statics/media/..",
        "statics/./app",
        "statics/ .. /app",
        "statics/.../app",
        "statics/%2e%2e/app/devices",
        "statics/%2E./app",
        "statics/..%2fapp",
        "statics/media%2f..%2f..%2fapp",
        "statics/%252e%252e/app",
        "statics/%5c..%5capp",
        "statics\\media\\1.jpeg",
        "statics/..\\app",
        "statics/media/1.jpeg\n",
        "statics//media/1.jpeg",
        "statics/",
        "statics",
        "staticsX/1.jpeg",
        "STATICS/1.jpeg",
        "app/devices",
        "//evil.example/statics/1.jpeg",
        "http://evil.example/statics/media/1.jpeg",
        "http://gowa:3000@evil.example/statics/media/1.jpeg",
        "http://gowa:3000.evil.example/statics/media/1.jpeg",
        "http://gowa:3000/app/devices",
        "http://gowa:3000/statics/../app/devices",
        "https://gowa:3000/statics/media/1.jpeg",
        "http://gowa:3000/statics/%2e%2e/app/devices",
        "http://gowa:3000/statics/%252e%252e/app/devices",
        "file:///statics/media/1.jpeg",
        "/etc/passwd",
    ],
)
def test_path_elsewhere_is_blocked(path: str) -> None:
    with pytest.raises(PermanentError, match="not that of a file below statics/") as error:
        of_path(path)
    assert error.value.code == Code.URL_BLOCKED


def test_path_without_gowa_url_names_the_setting() -> None:
    with pytest.raises(PermanentError, match="set GOWA_URL") as error:
        of_path("statics/media/1.jpeg", gowa_url=None, gowa_auth=None)
    assert error.value.code == Code.NO_SOURCE


def test_url_of_the_message_gets_the_login_only_below_statics() -> None:
    assert located({"url": "http://gowa:3000/statics/media/1.jpeg"}).credentials
    for url in ("https://bucket.example/1.jpeg", "http://gowa:3000/app/devices", "https://mmg.whatsapp.net/v/x"):
        source = located({"url": url})
        assert (source.url, source.credentials, source.trusted_url) == (url, {}, None)
    with pytest.raises(PermanentError, match="url_blocked"):
        located({"url": "http://gowa:3000/statics/../app/devices"})


def test_new_url_of_a_replay_takes_precedence_over_the_path() -> None:
    source = located({"remote_id": "statics/media/1.jpeg", "url": "https://bucket.example/1.jpeg"})
    assert (source.url, source.credentials) == ("https://bucket.example/1.jpeg", {})


def test_file_is_fetched_from_gowa_on_a_private_address_with_the_login() -> None:
    with GowaServer(LOGIN) as gowa, MediaServer({"x": b"elsewhere"}) as other:
        gowa.files["statics/media/1 a.jpeg"] = b"photo"
        source = of_path("statics/media/1 a.jpeg", gowa_url=gowa.base)
        guarded = local_http_client(allow_private=())
        assert download(guarded, source.url, credentials=source.credentials, trusted_url=source.trusted_url) == b"photo"
        with pytest.raises(PermanentError, match="url_blocked"):
            download(guarded, source.url)
        gowa.answers["statics/media/1 a.jpeg"] = Answer(302, {"Location": other.url("x")})
        with pytest.raises(PermanentError, match="url_blocked"):
            download(guarded, source.url, credentials=source.credentials, trusted_url=source.trusted_url)
        assert other.requests == []
        gowa.login = "another:login"
        with pytest.raises(RetryableError, match="fetch_unauthorized"):
            download(guarded, source.url, credentials=source.credentials, trusted_url=source.trusted_url)
