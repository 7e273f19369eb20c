"""URLs of WAHA's files: their translation to WAHA_URL, and the origins that receive the API key."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.config.settings import load_settings
from pipeline.errors import Code, PermanentError
from pipeline.gateways import Source, source_of
from pipeline.models import Attachment
from tests.support.http_client import Names, download, local_http_client
from tests.support.media_server import Answer, MediaServer


def located(url: str, *, names: Names | None = None, **values: Any) -> Source:
    attachment = Attachment(gateway="waha", session="s", message_id="m", url=url)
    http_client = local_http_client(allow_private=(), resolver=names or Names(["93.184.216.34"]))
    return source_of(attachment, http_client, load_settings(_env_file=None, **values))


@pytest.mark.parametrize("host", ["localhost:3000", "127.0.0.1:3000", "0.0.0.0:3000", "[::1]:8080"])
def test_localhost_url_is_replaced_by_waha_url(host: str) -> None:
    source = located(f"http://{host}/api/files/s/a@b.jpeg?x=1", waha_url="http://waha:3000/", waha_api_key="k1")
    assert source.url == "http://waha:3000/api/files/s/a@b.jpeg?x=1"
    assert source.credentials == {"X-Api-Key": "k1"}
    assert source.trusted_url == "http://waha:3000"
    assert "k1" not in repr(source)


def test_api_key_is_sent_only_to_the_origin_of_waha() -> None:
    waha = located("https://waha.example.com/api/files/a.jpg", waha_url="https://waha.example.com", waha_api_key="k1")
    assert (waha.credentials, waha.trusted_url) == ({"X-Api-Key": "k1"}, "https://waha.example.com")
    for url in (
        "http://waha.example.com/api/files/a",
        "https://bucket.example.com/api/files/a?X-Amz-Signature=s",
    ):
        source = located(url, waha_url="https://waha.example.com", waha_api_key="k1")
        assert (source.url, source.credentials, source.trusted_url) == (url, {}, None)
    assert located("http://localhost/api/files/a", waha_url="http://waha:3000").credentials == {}


@pytest.mark.parametrize(
    ("url", "values"),
    [
        ("http://localhost:3000/api/files/a.jpg", {}),
        ("http://127.0.0.1/api/files/a.jpg", {}),
        ("http://10.1.2.3:3000/api/files/a.jpg", {"waha_url": "http://waha:3000"}),
        ("http://localhost:9000/bucket/a.jpg", {"waha_url": "http://waha:3000"}),
    ],
)
def test_other_private_url_is_blocked_and_the_error_names_waha_url(url: str, values: Any) -> None:
    with pytest.raises(PermanentError, match="set WAHA_URL") as error:
        located(url, **values)
    assert error.value.code == Code.URL_BLOCKED


def test_other_invalid_urls_keep_their_error_codes() -> None:
    with pytest.raises(PermanentError, match="url_scheme"):
        located("file:///etc/passwd")
    with pytest.raises(PermanentError, match="no_source"):
        source_of(
            Attachment(gateway="waha", session="s", message_id="m"), local_http_client(), load_settings(_env_file=None)
        )


def test_file_is_fetched_from_waha_on_a_private_address_with_the_key() -> None:
    with MediaServer({"api/files/s/a.jpg": b"photo"}) as waha, MediaServer({"x": b"elsewhere"}) as other:
        url = f"http://127.0.0.1:{waha.port}"
        source = located("http://localhost:3000/api/files/s/a.jpg", waha_url=url, waha_api_key="k1")
        guarded = local_http_client(allow_private=())
        assert download(guarded, source.url, credentials=source.credentials, trusted_url=source.trusted_url) == b"photo"
        assert waha.requests[0].headers["x-api-key"] == "k1"
        waha.answers["api/files/s/a.jpg"] = Answer(302, {"Location": other.url("x")})
        with pytest.raises(PermanentError, match="url_blocked"):
            download(guarded, source.url, credentials=source.credentials, trusted_url=source.trusted_url)
        assert other.requests == []


def test_kept_connection_to_waha_is_not_used_for_untrusted_urls() -> None:
    with MediaServer({"api/files/s/a.jpg": b"photo", "x": b"inner"}) as waha:
        guarded = local_http_client(allow_private=(), ports=(waha.port,), resolver=Names(["127.0.0.1"]))
        origin = f"http://waha:{waha.port}"
        file = f"{origin}/api/files/s/a.jpg"
        assert download(guarded, file, trusted_url=origin) == download(guarded, file, trusted_url=origin) == b"photo"
        assert waha.connections == 1, "the connection is kept"
        for url in (file, f"{origin}/x"):
            with pytest.raises(PermanentError, match="url_blocked"):
                download(guarded, url)
        assert waha.hits("x") == 0
