"""Where the files of WAHA's messages lie from here, and who is shown its key."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.config.settings import load_settings
from pipeline.errors import Code, PermanentError
from pipeline.gateways import Source, source_of
from pipeline.models import Attachment
from tests.support.http_client import Names, download, local_http_client
from tests.support.media_server import Answer, MediaServer


def located(url: str, *, names: Names | None = None, **given: Any) -> Source:
    attachment = Attachment(gateway="waha", session="s", message_id="m", url=url)
    http_client = local_http_client(allow_private=(), resolver=names or Names(["93.184.216.34"]))
    return source_of(attachment, http_client, load_settings(_env_file=None, **given))


@pytest.mark.parametrize("host", ["localhost:3000", "127.0.0.1:3000", "0.0.0.0:3000", "[::1]:8080"])
def test_what_waha_calls_localhost_is_waha_where_it_stands_from_here(host: str) -> None:
    found = located(f"http://{host}/api/files/s/a@b.jpeg?x=1", waha_url="http://waha:3000/", waha_api_key="k1")
    assert found.url == "http://waha:3000/api/files/s/a@b.jpeg?x=1"
    assert found.credentials == {"X-Api-Key": "k1"}
    assert found.trusted == "http://waha:3000"
    assert "k1" not in repr(found)


def test_the_key_goes_to_wahas_own_origin_alone() -> None:
    own = located("https://waha.example.com/api/files/a.jpg", waha_url="https://waha.example.com", waha_api_key="k1")
    assert (own.credentials, own.trusted) == ({"X-Api-Key": "k1"}, "https://waha.example.com")
    for elsewhere in (
        "http://waha.example.com/api/files/a",
        "https://bucket.example.com/api/files/a?X-Amz-Signature=s",
    ):
        other = located(elsewhere, waha_url="https://waha.example.com", waha_api_key="k1")
        assert (other.url, other.credentials, other.trusted) == (elsewhere, {}, None)
    assert located("http://localhost/api/files/a", waha_url="http://waha:3000").credentials == {}


@pytest.mark.parametrize(
    ("url", "given"),
    [
        ("http://localhost:3000/api/files/a.jpg", {}),
        ("http://127.0.0.1/api/files/a.jpg", {}),
        ("http://10.1.2.3:3000/api/files/a.jpg", {"waha_url": "http://waha:3000"}),
        ("http://localhost:9000/bucket/a.jpg", {"waha_url": "http://waha:3000"}),
    ],
)
def test_a_private_place_that_is_not_wahas_stays_blocked_and_the_remedy_is_named(url: str, given: Any) -> None:
    with pytest.raises(PermanentError, match="set WAHA_URL") as error:
        located(url, **given)
    assert error.value.code == Code.URL_BLOCKED


def test_other_faults_of_a_url_keep_their_codes() -> None:
    with pytest.raises(PermanentError, match="url_scheme"):
        located("file:///etc/passwd")
    with pytest.raises(PermanentError, match="no_source"):
        source_of(
            Attachment(gateway="waha", session="s", message_id="m"), local_http_client(), load_settings(_env_file=None)
        )


def test_a_file_is_fetched_from_waha_on_a_private_address_with_the_key() -> None:
    with MediaServer({"api/files/s/a.jpg": b"photo"}) as waha, MediaServer({"x": b"elsewhere"}) as other:
        url = f"http://127.0.0.1:{waha.port}"
        found = located("http://localhost:3000/api/files/s/a.jpg", waha_url=url, waha_api_key="k1")
        guarded = local_http_client(allow_private=())
        assert download(guarded, found.url, credentials=found.credentials, trusted=found.trusted) == b"photo"
        assert waha.requests[0].headers["x-api-key"] == "k1"
        waha.answers["api/files/s/a.jpg"] = Answer(302, {"Location": other.url("x")})
        with pytest.raises(PermanentError, match="url_blocked"):
            download(guarded, found.url, credentials=found.credentials, trusted=found.trusted)
        assert other.requests == []


def test_a_connection_that_waha_keeps_open_serves_nobody_elses_url() -> None:
    with MediaServer({"api/files/s/a.jpg": b"photo", "x": b"inner"}) as waha:
        guarded = local_http_client(allow_private=(), ports=(waha.port,), resolver=Names(["127.0.0.1"]))
        own = f"http://waha:{waha.port}"
        file = f"{own}/api/files/s/a.jpg"
        assert download(guarded, file, trusted=own) == download(guarded, file, trusted=own) == b"photo"
        assert waha.connections == 1, "it is kept"
        for url in (file, f"{own}/x"):
            with pytest.raises(PermanentError, match="url_blocked"):
                download(guarded, url)
        assert waha.hits("x") == 0
