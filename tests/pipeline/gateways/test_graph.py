"""Media ids of the Cloud API, resolved at a test server that behaves like Meta's Graph API."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.settings import Settings, load_settings
from pipeline.errors import Code, PermanentError, PipelineError, RetryableError
from pipeline.gateways import Source, source_of
from pipeline.http_client import Deadline, DownloadLimits
from pipeline.models import Attachment
from pipeline.steps.fetch import fetch
from pipeline.storage import LocalStorage
from pipeline.storage.staging import Staging
from tests.support.gateway_servers import MALFORMED_TOKEN, UNKNOWN_ID, GraphServer, json_answer
from tests.support.http_client import Names, local_http_client
from tests.support.media_server import Answer, MediaServer

TOKEN = "EAAtest"
PHOTO = b"\xff\xd8 a photo" * 1000
PRIVATE = "127.0.0.0/8"


@pytest.fixture
def graph() -> Iterator[GraphServer]:
    with GraphServer(TOKEN) as server:
        server.media["1003"] = ("image/jpeg", PHOTO)
        yield server


def attachment(**fields: Any) -> Attachment:
    return Attachment(**{"gateway": "cloud", "session": "106", "message_id": "w", "remote_id": "1003", **fields})


def settings(graph: GraphServer, **values: Any) -> Settings:
    defaults = {"cloud_graph_url": graph.base, "cloud_access_token": TOKEN, "fetch_allow_private": PRIVATE}
    return load_settings(_env_file=None, **{**defaults, **values})


def source(graph: GraphServer, media_id: str = "1003", **values: Any) -> Source:
    return source_of(attachment(remote_id=media_id), local_http_client(), settings(graph, **values))


def refusal(graph: GraphServer, media_id: str = "1003", **values: Any) -> PipelineError:
    with pytest.raises(PipelineError) as error:
        source(graph, media_id, **values)
    assert TOKEN not in str(error.value)
    return error.value


def test_media_id_is_downloaded_with_the_token(graph: GraphServer, tmp_path: Path) -> None:
    fetched = fetch(
        attachment(file_sha256=hashlib.sha256(PHOTO).hexdigest()),
        intake=False,
        staging=Staging(tmp_path / "staging"),
        http_client=local_http_client(),
        storage=LocalStorage(tmp_path / "media"),
        settings=settings(graph),
    )
    assert (fetched.size, fetched.sha256) == (len(PHOTO), hashlib.sha256(PHOTO).hexdigest())
    assert [request.path for request in graph.requests] == ["/v23.0/1003", "/bytes/1?hash=signature"]
    assert {request.headers["authorization"] for request in graph.requests} == {f"Bearer {TOKEN}"}


def test_each_fetch_requests_a_new_url(graph: GraphServer) -> None:
    first = source(graph)
    graph.links["1003"] = "http://127.0.0.1:1/second"
    assert (first.url, source(graph).url) == (graph.url("bytes/1") + "?hash=signature", "http://127.0.0.1:1/second")
    assert first.credentials == {"Authorization": f"Bearer {TOKEN}"}
    assert first.trusted_url is None
    assert TOKEN not in repr(first)


def test_phone_number_uses_its_own_token_or_the_default(graph: GraphServer) -> None:
    for tokens, expected in (("106=EAAown,107=EAAother", "EAAown"), ("107=EAAother", TOKEN)):
        graph.tokens = (expected,)
        source(graph, cloud_access_tokens=tokens)
        assert graph.requests[-1].headers["authorization"] == f"Bearer {expected}"


def test_missing_token_is_reported_without_a_request(graph: GraphServer) -> None:
    error = refusal(graph, cloud_access_token=None)
    assert isinstance(error, RetryableError)
    assert error.code == Code.FETCH_UNAUTHORIZED
    assert "CLOUD_ACCESS_TOKEN or CLOUD_ACCESS_TOKENS" in error.message
    assert graph.requests == []


@pytest.mark.parametrize(
    "media_id", ["", "../me", "1003/../../me", "1003?fields=x", "1003#", "1003%2Fx", "a b", "1\r\nX: y", "٣", "1" * 129]
)
def test_malformed_media_id_is_refused_without_a_request(graph: GraphServer, media_id: str) -> None:
    assert refusal(graph, media_id).code == Code.NO_SOURCE
    assert graph.requests == []


def test_url_of_a_replay_is_used_without_the_graph_api(graph: GraphServer) -> None:
    url = "https://files.example.com/a"
    for replayed in (attachment(url=url, remote_id=None), attachment(url=url)):
        replay_source = source_of(replayed, local_http_client(), settings(graph))
        assert (replay_source.url, replay_source.credentials) == (url, {})
    assert graph.requests == []


def error(code: Any, message: str = "m") -> dict[str, Any]:
    return {"error": {"message": message, "type": "OAuthException", "code": code}}


@pytest.mark.parametrize(
    ("status", "content", "code", "kind"),
    [
        (400, UNKNOWN_ID, Code.SOURCE_GONE, PermanentError),
        (404, UNKNOWN_ID, Code.SOURCE_GONE, PermanentError),
        (404, {}, Code.SOURCE_GONE, PermanentError),
        (400, error(2500), Code.FETCH_REFUSED, PermanentError),
        (400, [], Code.FETCH_REFUSED, PermanentError),
        (400, error("100"), Code.FETCH_REFUSED, PermanentError),
        (400, error([100]), Code.FETCH_REFUSED, PermanentError),
        (401, error(0), Code.FETCH_UNAUTHORIZED, RetryableError),
        (401, {}, Code.FETCH_UNAUTHORIZED, RetryableError),
        (400, MALFORMED_TOKEN, Code.FETCH_UNAUTHORIZED, RetryableError),
        (403, error(10), Code.FETCH_UNAUTHORIZED, RetryableError),
        (400, error(200), Code.FETCH_UNAUTHORIZED, RetryableError),
        (403, error(4), Code.FETCH_UNAVAILABLE, RetryableError),
        (400, error(80007), Code.FETCH_UNAVAILABLE, RetryableError),
        (400, error(130429), Code.FETCH_UNAVAILABLE, RetryableError),
        (429, {}, Code.FETCH_UNAVAILABLE, RetryableError),
        (503, UNKNOWN_ID, Code.FETCH_UNAVAILABLE, RetryableError),
        (500, error(2), Code.FETCH_UNAVAILABLE, RetryableError),
    ],
)
def test_error_codes_of_the_graph_api_are_classified(
    graph: GraphServer, status: int, content: Any, code: Code, kind: type[PipelineError]
) -> None:
    graph.answers["v23.0/1003"] = json_answer(status, content, Retry_After="42")
    refused = refusal(graph)
    assert (refused.code, type(refused)) == (code, kind)
    if code == Code.FETCH_UNAVAILABLE:
        assert isinstance(refused, RetryableError)
        assert refused.retry_after == 42


def test_wrong_token_is_unauthorized_and_not_in_the_message(graph: GraphServer) -> None:
    assert refusal(graph, cloud_access_token="EAAx").code == Code.FETCH_UNAUTHORIZED
    graph.answers["v23.0/1003"] = json_answer(400, error(190, f"Malformed access token {TOKEN}"))
    assert refusal(graph).code == Code.FETCH_UNAUTHORIZED


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"url": null}',
        b'{"url": ""}',
        b'{"url": ["a"]}',
        b"\xff",
        b"[" * 20_000,
        b'{"url": "http://127.0.0.1/"}' + b" " * 65_536,
    ],
)
def test_reply_without_a_url_is_retryable(graph: GraphServer, body: bytes) -> None:
    graph.answers["v23.0/1003"] = Answer(200, {}, body)
    refused = refusal(graph)
    assert isinstance(refused, RetryableError)
    assert refused.code == Code.FETCH_PROTOCOL


def test_token_is_sent_without_tls_only_to_an_allowed_private_server(graph: GraphServer) -> None:
    assert refusal(graph, fetch_allow_private="").code == Code.URL_BLOCKED
    assert graph.requests == []


def test_token_is_not_sent_to_a_url_without_tls(graph: GraphServer, monkeypatch: pytest.MonkeyPatch) -> None:
    http_client = local_http_client()
    reply = http_client.call_api(graph.base + "/1003", headers={"Authorization": f"Bearer {TOKEN}"}, timeout_s=3)
    monkeypatch.setattr(http_client, "call_api", lambda *_, **__: reply)
    with pytest.raises(PermanentError, match="url_blocked"):
        source_of(attachment(), http_client, settings(graph, cloud_graph_url="https://graph.facebook.com/v23.0"))


def test_redirect_of_the_graph_api_is_not_followed(graph: GraphServer) -> None:
    with MediaServer({"x": b"x"}) as other:
        graph.answers["v23.0/1003"] = Answer(302, {"Location": other.url("x")})
        assert refusal(graph).code == Code.FETCH_REDIRECT
        assert other.requests == []


def test_ssrf_guard_checks_the_graph_api_and_the_urls_that_it_returns(graph: GraphServer) -> None:
    guarded = local_http_client(allow_private=(), resolver=Names(["10.0.0.1"]))
    with pytest.raises(PermanentError, match="url_blocked"):
        source_of(attachment(), guarded, settings(graph))
    graph.links["1003"] = "http://169.254.169.254/latest/meta-data"
    inner = source(graph)
    with (
        pytest.raises(PermanentError, match="url_blocked"),
        local_http_client().download(inner.url, credentials=inner.credentials, limits=DownloadLimits(Deadline(2), 10)),
    ):
        pass
