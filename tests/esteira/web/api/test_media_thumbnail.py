"""`GET /media/{id}/thumbnail` and `preview` of the real web app: responses, headers and permissions."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from pipeline.catalogue import Preview, PreviewState
from pipeline.models import Kind, Record
from pipeline.security.tokens import TokenSigner
from pipeline.storage import thumbnail_key
from tests.esteira.web.api.test_media_content import stored_media
from tests.support.system import RunningSystem
from tests.support.web_server import TOKEN, Reply, WebServer, web_server

ALL = {"Authorization": f"Bearer {TOKEN}"}
PASSES = TokenSigner(SecretStr(TOKEN))
PICTURE = b"RIFF\x10\0\0\0WEBPVP8 and so on"


@pytest.fixture
def server(system: RunningSystem) -> Iterator[WebServer]:
    with web_server(system, previews="true") as server:
        yield server


def shown(system: RunningSystem, **fields: str) -> Record:
    """An attachment that is done, with a thumbnail."""
    record = stored_media(system, os.urandom(1000), **fields)
    assert record.sha256
    system.services.storage.put_chunks([PICTURE], thumbnail_key(record.sha256))
    system.services.catalogue.previews.save(
        Preview(sha256=record.sha256, state=PreviewState.MADE, thumbhash="abcd", width=320, height=240)
    )
    return record


def get(server: WebServer, path: str, method: str = "GET", **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.request(method, path, headers={**ALL, **named})


def test_thumbnail_is_a_cacheable_sandboxed_picture(system: RunningSystem, server: WebServer) -> None:
    record = shown(system)
    answer = get(server, f"/media/{record.id}/thumbnail")
    assert (answer.status, answer.body) == (200, PICTURE)
    assert answer.headers["content-type"] == "image/webp"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert {"private", "immutable"} <= set(answer.headers["cache-control"].split(", "))
    head = get(server, f"/media/{record.id}/thumbnail", "HEAD")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(PICTURE)))
    known = get(server, f"/media/{record.id}/thumbnail", If_None_Match=answer.headers["etag"])
    assert (known.status, known.body) == (304, b"")


def test_thumbnail_has_another_etag_than_its_content(system: RunningSystem, server: WebServer) -> None:
    record = shown(system)
    assert get(server, f"/media/{record.id}/thumbnail", If_None_Match=f'"{record.sha256}"').status == 200


def test_thumbnail_has_the_permissions_of_its_content(system: RunningSystem, server: WebServer) -> None:
    mine, others = shown(system, session="mine"), shown(system, session="others")
    token = {"Authorization": f"Bearer {PASSES.session_token('mine', gateway='media', days=1)}"}
    assert server.request("GET", f"/media/{mine.id}/thumbnail", headers=token).status == 200
    assert server.request("GET", f"/media/{others.id}/thumbnail", headers=token).status == 404
    assert server.request("GET", f"/media/{mine.id}/thumbnail").status == 401
    query = urlsplit(PASSES.link(mine.id, seconds=60)[0]).query
    assert server.request("GET", f"/media/{mine.id}/thumbnail?{query}").status == 200
    assert server.request("GET", f"/media/{others.id}/thumbnail?{query}").status == 401


@pytest.mark.parametrize(
    ("state", "said"), [(PreviewState.NONE, "nothing to show"), (PreviewState.FAILED, "could not be made")]
)
def test_missing_thumbnail_answers_no_preview(
    system: RunningSystem, server: WebServer, state: PreviewState, said: str
) -> None:
    record = stored_media(system, os.urandom(1000))
    system.services.catalogue.previews.save(Preview(sha256=str(record.sha256), state=state))
    answer = get(server, f"/media/{record.id}/thumbnail")
    assert (answer.status, answer.code) == (404, "no_preview")
    assert said in answer.json["error"]["message"]
    assert get(server, f"/media/{record.id}").json["preview"]["state"] == state


@pytest.mark.parametrize("lose", ["row", "picture"])
def test_pending_thumbnail_answers_202(system: RunningSystem, server: WebServer, lose: str) -> None:
    record = shown(system)
    losing: dict[str, Callable[[str], None]] = {
        "row": system.services.catalogue.previews.delete,
        "picture": lambda sha256: system.services.storage.delete(thumbnail_key(sha256)),
    }
    losing[lose](str(record.sha256))
    answer = get(server, f"/media/{record.id}/thumbnail")
    assert (answer.status, answer.json) == (202, {"preview": "pending"})
    assert answer.headers["cache-control"] == "no-store"
    assert int(answer.headers["retry-after"]) >= 1
    assert system.queue.preview_queue.stats.counts()["derive"]["ready"] == 1
    assert get(server, f"/media/{record.id}/thumbnail").status == 202
    assert system.queue.preview_queue.stats.counts()["derive"]["ready"] == 1


def test_content_without_a_thumbnail_answers_404(system: RunningSystem, server: WebServer) -> None:
    word = (Kind.DOCUMENT, "application/msword", "doc")
    record = stored_media(system, os.urandom(1000), type_=word)
    answer = get(server, f"/media/{record.id}/thumbnail")
    assert (answer.status, answer.code) == (404, "no_preview")
    assert system.queue.preview_queue.stats.counts()["derive"]["ready"] == 0


def test_thumbnail_answers_404_when_previews_are_off(system: RunningSystem) -> None:
    made, missing = shown(system), stored_media(system, os.urandom(1000))
    with web_server(system, previews="false") as server:
        answer = get(server, f"/media/{missing.id}/thumbnail")
        assert (answer.status, answer.code) == (404, "no_preview")
        assert "PREVIEWS" in answer.json["error"]["message"]
        assert get(server, f"/media/{made.id}/thumbnail").status == 200


def test_pending_thumbnail_answers_503_without_redis(system: RunningSystem) -> None:
    made, missing = shown(system), stored_media(system, os.urandom(1000))
    away = system.with_redis("redis://127.0.0.1:1/0")
    try:
        with web_server(away, previews="true") as server:
            answer = get(server, f"/media/{missing.id}/thumbnail")
            assert (answer.status, answer.code) == (503, "queue")
            assert get(server, f"/media/{made.id}/thumbnail").status == 200
    finally:
        away.close()


def test_attachment_without_content_has_no_thumbnail(system: RunningSystem, server: WebServer) -> None:
    waiting = system.submit(url="http://127.0.0.1:1/x").id
    assert get(server, f"/media/{waiting}/thumbnail").code == "not_found"
    assert get(server, f"/media/{'0' * 32}/thumbnail").code == "not_found"
    record = shown(system)
    assert server.request("DELETE", f"/media/{record.id}", headers=ALL).status == 200
    assert get(server, f"/media/{record.id}/thumbnail").status == 410
    assert get(server, f"/media/{record.id}").json["preview"] is None


def test_attachments_show_their_preview(system: RunningSystem, server: WebServer) -> None:
    record, other = shown(system), stored_media(system, os.urandom(1000))
    expected = {"state": "made", "thumbhash": "abcd", "width": 320, "height": 240, "peaks": None}
    assert get(server, f"/media/{record.id}").json["preview"] == expected
    page = {one["id"]: one["preview"] for one in get(server, "/media").json["media"]}
    assert page == {record.id: expected, other.id: None}
    sound = stored_media(system, os.urandom(1000))
    system.services.catalogue.previews.save(
        Preview(sha256=str(sound.sha256), state=PreviewState.MADE, peaks=tuple(range(100)))
    )
    assert get(server, f"/media/{sound.id}").json["preview"]["peaks"] == list(range(100))
    assert get(server, f"/media/{sound.id}/thumbnail").code == "no_preview"
