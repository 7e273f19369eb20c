"""The second source of a file: the message's own URL after its direct path has no file any more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from pipeline.config.settings import load_settings
from pipeline.errors import Code, PermanentError, PipelineError, RetryableError
from pipeline.gateways.sources import Source
from pipeline.models import Attachment
from pipeline.steps.fetch import fetch
from pipeline.steps.other_source import other_source
from pipeline.storage import LocalStorage
from pipeline.storage.staging import Staging
from tests.support.http_client import Names, local_http_client
from tests.support.media_server import Answer, MediaServer
from tests.support.tls import client_context, server_context
from tests.support.whatsapp_media import encrypt

PLAIN = b"a picture of a cat" * 500
SEALED = encrypt(PLAIN)
AUTHORITY = trustme.CA()
FIRST = "mmg.whatsapp.example"


class TwoServers:
    """WhatsApp's server, which has no file, and a fetch step that knows it by the name FIRST."""

    def __init__(self, folder: Path, whatsapp: MediaServer, other: MediaServer) -> None:
        self.whatsapp, self.other = whatsapp, other
        self.staging, self.storage = Staging(folder / "staging"), LocalStorage(folder / "media")
        self.http_client = local_http_client(resolver=Names(["127.0.0.1"]), tls=client_context(AUTHORITY))
        self.hosts = f"{FIRST}:{whatsapp.port},*.whatsapp.example"

    def fetch(self, *, allow_private: str = "127.0.0.0/8", **fields: Any) -> Any:
        given = {"session": "s", "message_id": "m", "kind": "image", "direct_path": "/v/a", **SEALED.fields(), **fields}
        return fetch(
            Attachment(**given),
            intake=False,
            staging=self.staging,
            http_client=self.http_client,
            storage=self.storage,
            settings=load_settings(_env_file=None, fetch_allow_private=allow_private, whatsapp_hosts=self.hosts),
        )


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[TwoServers]:
    tls = server_context(AUTHORITY, FIRST)
    with MediaServer({}, tls=tls) as whatsapp, MediaServer({"sealed": SEALED.data, "plain": PLAIN}) as other:
        yield TwoServers(tmp_path, whatsapp, other)


@pytest.mark.parametrize("status", [403, 404, 410])
def test_url_on_another_host_is_asked_after_the_direct_path(servers: TwoServers, status: int) -> None:
    servers.whatsapp.answers["v/a"] = Answer(status)
    fetched = servers.fetch(url=servers.other.url("sealed"))
    assert fetched.size == len(PLAIN)
    assert fetched.note == f"{FIRST} answers {status}; 127.0.0.1:{servers.other.port} has the file"
    assert (servers.whatsapp.hits("v/a"), servers.other.hits("sealed")) == (1, 1)


def test_file_of_the_direct_path_has_no_note(servers: TwoServers) -> None:
    servers.whatsapp.files["v/a"] = SEALED.data
    assert servers.fetch(url=servers.other.url("sealed")).note is None
    assert servers.other.requests == []


def test_error_names_both_sources(servers: TwoServers) -> None:
    with pytest.raises(PermanentError) as error:
        servers.fetch(url=servers.other.url("nothing"))
    assert error.value.code == Code.SOURCE_GONE
    assert error.value.message == f"{FIRST} answers 404; its other source: 127.0.0.1 answers 404"
    assert servers.other.hits("nothing") == 1


@pytest.mark.parametrize(
    "url",
    [
        "https://web.whatsapp.net/",
        "https://web.whatsapp.net",
        "https://{first}.:{port}/another/path",
        "HTTPS://MMG.WhatsApp.example:{port}/v/a?oe=1",
        "not a url",
        "https://[malformed",
    ],
)
def test_same_host_and_useless_urls_are_not_asked(servers: TwoServers, url: str) -> None:
    with pytest.raises(PermanentError) as error:
        servers.fetch(url=url.format(first=FIRST, port=servers.whatsapp.port))
    assert (error.value.code, error.value.message) == (Code.SOURCE_GONE, f"{FIRST} answers 404")
    assert len(servers.whatsapp.requests) == 1


@pytest.mark.parametrize(
    ("host", "allow_private"),
    [
        pytest.param("evil.example", "", id="not in WHATSAPP_HOSTS, with a media key"),
        pytest.param("169.254.169.254", "127.0.0.0/8", id="metadata service"),
        pytest.param("10.0.0.1", "127.0.0.0/8", id="private network"),
    ],
)
def test_other_source_passes_the_same_guard(servers: TwoServers, host: str, allow_private: str) -> None:
    with pytest.raises(PermanentError) as error:
        servers.fetch(url=servers.other.url("sealed", host=host), allow_private=allow_private)
    assert error.value.code == Code.SOURCE_GONE
    assert error.value.message.startswith(f"{FIRST} answers 404; its other source: ")
    assert "not" in error.value.message.rpartition("its other source")[2]  # not allowed, not public
    assert servers.other.requests == []


def test_other_source_may_not_redirect_to_a_forbidden_host(servers: TwoServers) -> None:
    servers.other.answers["moved"] = Answer(302, {"Location": "http://evil.example/x"})
    with pytest.raises(PermanentError) as error:
        servers.fetch(url=servers.other.url("moved"))
    assert error.value.code == Code.SOURCE_GONE


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer(200, body=encrypt(b"another file").data), Code.HASH_MISMATCH),
        (Answer(200, body=SEALED.data[:-1] + bytes([SEALED.data[-1] ^ 1])), Code.DECRYPT_MAC),
        (Answer(200, body=b"<html>log in</html>"), Code.DECRYPT_FORMAT),
        (Answer(200), Code.DECRYPT_FORMAT),
    ],
)
def test_other_source_with_another_file_is_refused(servers: TwoServers, answer: Answer, code: Code) -> None:
    servers.other.answers["sealed"] = answer
    with pytest.raises(PermanentError) as error:
        servers.fetch(url=servers.other.url("sealed"))
    assert error.value.code == code
    assert not servers.staging.exists(Attachment(session="s", message_id="m").id)


def test_other_source_that_may_recover_is_asked_again_with_the_next_attempt(servers: TwoServers) -> None:
    servers.other.answers["sealed"] = [Answer(503, {"Retry-After": "7"}), Answer(200, body=SEALED.data)]
    with pytest.raises(RetryableError) as error:
        servers.fetch(url=servers.other.url("sealed"))
    assert (error.value.code, error.value.retry_after) == (Code.FETCH_UNAVAILABLE, 7)
    assert error.value.message == f"{FIRST} answers 404; its other source: 127.0.0.1 answers 503"
    assert servers.fetch(url=servers.other.url("sealed")).note


def test_too_large_file_of_the_other_source_is_called_so(servers: TwoServers) -> None:
    servers.other.answers["sealed"] = Answer(200, body=bytes(17_000_000))
    with pytest.raises(PermanentError) as error:
        servers.fetch(url=servers.other.url("sealed"))
    assert error.value.code == Code.TOO_LARGE


@pytest.mark.parametrize("status", [500, 429, 400, 204])
def test_other_errors_of_the_direct_path_try_no_other_source(servers: TwoServers, status: int) -> None:
    servers.whatsapp.answers["v/a"] = Answer(status)
    with pytest.raises(PipelineError) as error:
        servers.fetch(url=servers.other.url("sealed"))
    assert error.value.code != Code.SOURCE_GONE
    assert servers.other.requests == []


@pytest.mark.parametrize("url", ["https://mmg.example/b", "http://MMG.example/b", "https://mmg.example.:443/b"])
def test_default_ports_of_one_host_are_one_server(url: str) -> None:
    attachment = Attachment(session="s", message_id="m", direct_path="/v/a", url=url)
    found = other_source(attachment, Source("https://mmg.example/v/a"), lambda variant: Source(variant.url or ""))
    assert found is None


def test_another_port_is_another_server() -> None:
    attachment = Attachment(session="s", message_id="m", direct_path="/v/a", url="http://127.0.0.1:8090/b")
    found = other_source(attachment, Source("https://127.0.0.1:9443/v/a"), lambda variant: Source(variant.url or ""))
    assert found == Source("http://127.0.0.1:8090/b")
