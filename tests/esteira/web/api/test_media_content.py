"""`GET /media/{id}/content` of the real web app: ranges, headers and permissions."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from pydantic import SecretStr

from esteira.web.api.file_names import content_disposition, download_name
from pipeline.models import Detected, Facts, Fetched, Kind, Record, Status, Stored, Validated
from pipeline.security.tokens import TokenSigner
from pipeline.storage import content_key
from tests.support.catalogues import claimed, finished, mark_stored
from tests.support.s3 import S3Server, s3_server
from tests.support.system import RunningSystem
from tests.support.web_server import TOKEN, Reply, WebServer, web_server

ALL = {"Authorization": f"Bearer {TOKEN}"}
PASSES = TokenSigner(SecretStr(TOKEN))
CONTENT = os.urandom(300_000)


@pytest.fixture
def server(system: RunningSystem) -> Iterator[WebServer]:
    with web_server(system) as server:
        yield server


def stored_media(
    system: RunningSystem,
    content: bytes = CONTENT,
    *,
    type_: tuple[Kind, str, str] = (Kind.IMAGE, "image/jpeg", "jpeg"),
    in_storage: bool = True,
    **fields: Any,
) -> Record:
    """A done attachment with this content."""
    sha256 = hashlib.sha256(content).hexdigest()
    catalogue = system.services.catalogue
    claim = claimed(catalogue, catalogue.accept(system.attachment(url="https://media.example/x", **fields)).id)
    if in_storage:
        system.services.storage.put_chunks([content], content_key(sha256))
    kind, mime, ext = type_
    detected = Detected(fetched=Fetched(size=len(content), sha256=sha256), kind=kind, mime=mime, ext=ext)
    validated = Validated(detected=detected, facts=Facts())
    name = f"1700000000_{sha256[:6]}.{ext}"
    mark_stored(catalogue, claim, Stored(validated=validated, storage_key=content_key(sha256), name=name))
    return catalogue.finish(claim, announced=True)


def get(server: WebServer, media_id: str, method: str = "GET", **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.request(method, f"/media/{media_id}/content", headers={**ALL, **named})


def test_content_has_its_hash_and_name_in_the_headers(system: RunningSystem, server: WebServer) -> None:
    record = stored_media(system, filename="férias “1”.JPG")
    answer = get(server, record.id)
    assert (answer.status, answer.body) == (200, CONTENT)
    assert answer.headers["etag"] == f'"{record.sha256}"'
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["content-length"] == str(len(CONTENT))
    assert answer.headers["accept-ranges"] == "bytes"
    assert "private" in answer.headers["cache-control"]
    assert answer.headers["content-disposition"] == (
        "inline; filename=\"f_rias _1_.JPG\"; filename*=UTF-8''f%C3%A9rias%20%E2%80%9C1%E2%80%9D.JPG"
    )
    head = get(server, record.id, "HEAD")
    assert (head.status, head.body) == (200, b"")
    same = ("content-length", "content-type", "etag", "content-disposition", "accept-ranges", "cache-control")
    assert [head.headers[name] for name in same] == [answer.headers[name] for name in same]


def test_content_supports_ranges_and_conditional_requests(system: RunningSystem, server: WebServer) -> None:
    record = stored_media(system)
    size, etag = len(CONTENT), f'"{record.sha256}"'
    for asked, start, stop in (
        ("bytes=0-0", 0, 1),
        ("bytes=5-9", 5, 10),
        ("bytes=290000-", 290_000, size),
        ("bytes=-7", size - 7, size),
        ("bytes=-999999999", 0, size),
        ("bytes=5-99999999999999999999999", 5, size),
        ("Bytes=0-1", 0, 2),
    ):
        answer = get(server, record.id, Range=asked)
        assert (answer.status, answer.body) == (206, CONTENT[start:stop]), asked
        assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
        assert answer.headers["content-length"] == str(stop - start)
    for asked in (f"bytes={size}-", "bytes=-0", "bytes=9999999999999999999999-"):
        answer = get(server, record.id, Range=asked)
        assert (answer.status, answer.headers["content-range"]) == (416, f"bytes */{size}"), asked
    for asked in ("bytes=0-1,5-6", "bytes=9-5", "bytes=-", "bytes", "lines=0-1", "bytes=a-b", "bytes=0x1-2", "bytes=1"):
        assert (get(server, record.id, Range=asked).status, asked) == (200, asked)
    assert get(server, record.id, Range="bytes=0-1", If_Range=etag).status == 206
    for other in ('"other"', f"W/{etag}", "Sun, 22 Nov 2026 10:00:00 GMT"):
        assert get(server, record.id, Range="bytes=0-1", If_Range=other).status == 200
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        answer = get(server, record.id, If_None_Match=known)
        assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", etag)
    assert get(server, record.id, If_None_Match='"other"').status == 200


def test_api_02_browsers_run_no_content(system: RunningSystem, server: WebServer) -> None:
    for number, (type_, shown) in enumerate(
        (
            ((Kind.IMAGE, "image/jpeg", "jpeg"), "inline"),
            ((Kind.VIDEO, "video/mp4", "mp4"), "inline"),
            ((Kind.PTT, "audio/ogg", "ogg"), "inline"),
            ((Kind.DOCUMENT, "application/pdf", "pdf"), "attachment"),
            ((Kind.DOCUMENT, "text/plain", "txt"), "attachment"),
            ((Kind.DOCUMENT, "text/html", "html"), "attachment"),
            ((Kind.IMAGE, "image/svg+xml", "svg"), "attachment"),
            ((Kind.DOCUMENT, "application/xml", "xml"), "attachment"),
            ((Kind.DOCUMENT, "text/vcard", "vcf"), "attachment"),
            ((Kind.DOCUMENT, "application/x-ofx", "ofx"), "attachment"),
            ((Kind.DOCUMENT, "application/zip", "zip"), "attachment"),
            ((Kind.STICKER, "application/was", "was"), "attachment"),
        )
    ):
        record = stored_media(system, b"<script>alert(%d)</script>" % number, type_=type_, filename="a.htm")
        for asked in ({}, {"Range": "bytes=0-3"}):
            headers = get(server, record.id, **asked).headers
            assert headers["content-type"].partition(";")[0] == type_[1]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["content-security-policy"] == "sandbox; default-src 'none'"
            assert headers["content-disposition"] == f'{shown}; filename="a.htm.{type_[2]}"'


def test_api_01_content_paths_cannot_escape(system: RunningSystem, server: WebServer) -> None:
    record = stored_media(system, session="shop")
    (system.folder / "secret").write_bytes(b"root:x:0")
    place = system.folder / "media" / str(record.storage_key)
    for path in (
        f"/media/{record.id}/../../../../etc/passwd",
        "/media/../../etc/passwd/content",
        "/media/%2e%2e%2f%2e%2e%2fetc%2fpasswd/content",
        "/media/..%2f..%2fsecret/content",
        f"/media/{record.id}%00/content",
        "/media/%00/content",
        f"/media/{record.storage_key}/content",
        f"/media/{record.sha256}/content",
        f"/media/intake%2f{record.id}/content",
        f"//media/{record.id}/content",
    ):
        answer = server.request("GET", path, headers=ALL)
        assert (answer.status, answer.code) == (404, "not_found"), path
    others = {"Authorization": f"Bearer {PASSES.session_token('bar', gateway='media', days=1)}"}
    nobodys = server.request("GET", f"/media/{'f' * 32}/content", headers=others)
    answer = server.request("GET", f"/media/{record.id}/content", headers=others)
    assert (answer.status, answer.body) == (404, nobodys.body)
    place.unlink()
    place.symlink_to(system.folder / "secret")
    answer = get(server, record.id)
    assert (answer.status, b"root" in answer.body) == (404, False)


def test_signed_link_opens_one_content_until_it_expires(system: RunningSystem, server: WebServer) -> None:
    record, other = stored_media(system), stored_media(system, b"other")
    made = server.request("POST", f"/media/{record.id}/link", b'{"seconds": 60}', headers=ALL)
    link = made.json["url"]
    assert (made.status, server.request("GET", link).body) == (201, CONTENT)
    assert server.request("GET", link, headers={"Range": "bytes=0-3"}).status == 206
    late = TokenSigner(SecretStr(TOKEN), clock=lambda: time.time() - 61).link(record.id, seconds=60)[0]
    query = link.partition("?")[2]
    for path in (
        link[:-1],
        link.replace("expires=", "expires=9"),
        late,
        f"/media/{other.id}/content?{query}",
        f"/media/{record.id}?{query}",
        f"/media?{query}",
        f"/media/{record.id}/content",
        f"/media/{record.id}/content?signature=&expires=",
    ):
        answer = server.request("GET", path)
        assert (answer.status, answer.code) == (401, "unauthorized"), path
    assert query.rpartition("=")[2] not in server.log_text()


@pytest.mark.parametrize("status", [Status.FAILED, Status.REJECTED, Status.EXPIRED])
def test_attachment_without_content_answers_404(system: RunningSystem, server: WebServer, status: Status) -> None:
    record = finished(system.services.catalogue, status, of=system.attachment(url="https://media.example/x"))
    answer = get(server, record.id)
    assert (answer.status, answer.code) == (404, "not_found")
    assert get(server, stored_media(system, b"lost", in_storage=False).id).status == 404


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    with s3_server(monkeypatch) as server:
        yield server


def test_content_in_an_object_store_is_a_redirect(
    bucket: S3Server, make_system: Callable[..., RunningSystem], tmp_path: Path
) -> None:
    system = make_system(storage_url="s3://media/pre")
    record = stored_media(system)
    with web_server(system) as server:
        answer = get(server, record.id)
        assert (answer.status, answer.headers["cache-control"]) == (307, "no-store")
        there = answer.headers["location"]
        assert there.startswith(f"{bucket.endpoint}/media/pre/")
        assert requests.get(there, timeout=10).content == CONTENT
        assert requests.head(get(server, record.id, "HEAD").headers["location"], timeout=10).status_code == 200
        assert get(server, record.id, If_None_Match=f'"{record.sha256}"').status == 304
        assert get(server, stored_media(system, b"lost", in_storage=False).id).status == 404
        assert "X-Amz-Signature" not in server.log_text()
        through = server.request("GET", f"/media/{record.id}/content?redirect=false", headers=ALL)
        assert (through.status, through.body) == (200, CONTENT), "for pages that may load nothing from other hosts"
    with web_server(system, content_redirect="false") as server:
        answer = get(server, record.id, Range="bytes=7-299998")
        assert (answer.status, answer.body) == (206, CONTENT[7:299_999])


def named(filename: str | None, ext: str) -> str:
    given = {"id": "ab" * 16, "gateway": "media", "session": "s", "message_id": "m", "part": 0, "received_at": 0}
    given |= {"status": "done", "stage": "notify", "filename": filename, "ext": ext, "name": f"1_abcdef.{ext}"}
    return download_name(Record.model_validate(given))


@pytest.mark.parametrize(
    ("filename", "ext", "expected"),
    [
        ("a.jpg", "jpeg", "a.jpg"),
        ("a.JPEG", "jpeg", "a.JPEG"),
        ("a.html", "jpeg", "a.html.jpeg"),
        ("a.pdf.exe", "pdf", "a.pdf.exe.pdf"),
        ("noending", "pdf", "noending.pdf"),
        (".pdf", "pdf", ".pdf.pdf"),
        (None, "pdf", "1_abcdef.pdf"),
        ("../../x.pdf", "pdf", ".._.._x.pdf"),
        ("x" * 400 + ".pdf", "pdf", "x" * 150 + ".pdf"),
    ],
)
def test_download_name_ends_with_the_extension_of_the_content(filename: str | None, ext: str, expected: str) -> None:
    assert named(filename, ext) == expected


@pytest.mark.parametrize("name", ['a"; x=y.pdf', "a\r\nSet-Cookie: x=1", "\udcff.pdf", "a\\b", "é" * 99, "\x7f\0"])
def test_content_disposition_escapes_every_name(name: str) -> None:
    header = content_disposition(name, inline=False)
    assert header.isascii()
    assert header.isprintable()
    assert header.startswith('attachment; filename="')
    assert header.count('"') == 2


def test_deleted_content_answers_410(system: RunningSystem, server: WebServer) -> None:
    record, twin = stored_media(system, session="shop"), stored_media(system, session="shop")
    link = server.request("POST", f"/media/{record.id}/link", b'{"seconds": 60}', headers=ALL).json["url"]
    session = {"Authorization": f"Bearer {PASSES.session_token('shop', gateway='media', days=1)}"}
    refused = server.request("DELETE", f"/media/{record.id}", headers=session)
    assert (refused.status, refused.code) == (403, "forbidden")
    for shown in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": f"token={TOKEN}"}):
        assert server.request("DELETE", f"/media/{record.id}", headers=shown).status == 401
    assert get(server, record.id).status == 200
    for _ in range(2):
        answer = server.request("DELETE", f"/media/{record.id}", headers=ALL)
        assert (answer.status, answer.json["status"], answer.json["content"]) == (200, "deleted", None)
    for again in (get(server, record.id), get(server, record.id, If_None_Match=f'"{record.sha256}"')):
        assert (again.status, again.code) == (410, "not_found")
    assert server.request("GET", link).status == 410
    assert get(server, twin.id).body == CONTENT
    assert server.request("DELETE", f"/media/{twin.id}", headers=ALL).status == 200
    assert system.stored_files() == []
    assert server.request("POST", f"/media/{twin.id}/replay", headers=ALL).status == 409
    assert server.request("GET", "/media?status=deleted", headers=ALL).json["media"][0]["deleted_at"]


def test_delete_refuses_unknown_and_running_attachments(system: RunningSystem, server: WebServer) -> None:
    waiting = system.submit(url="https://media.example/x").id
    for media_id, status in ((waiting, 409), ("f" * 32, 404), ("no-id", 404), ("%00", 404), ("..%2fx", 404)):
        assert server.request("DELETE", f"/media/{media_id}", headers=ALL).status == status, media_id
    assert system.record(waiting).status is Status.RECEIVED
