"""The first step, from a source to a whole staged file: CHECKS rows HTTP-12 to HTTP-14, WA-07 and others."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.settings import Settings, load_settings
from pipeline.errors import Code, PermanentError, PipelineError, RetryableError
from pipeline.models import Attachment, Fetched
from pipeline.steps.fetch import fetch
from pipeline.storage import LocalStorage, intake_key
from pipeline.storage.staging import Staging
from tests.support.hostile_server import HostileServer, drips, floods, head, resets, says
from tests.support.http_client import local_http_client
from tests.support.media_server import Answer, MediaServer
from tests.support.memory import peak_memory_below
from tests.support.whatsapp_media import encrypt

PLAIN = b"\x89PNG not really" * 50_000
MB = 1_000_000


class Bench:
    """Everything that fetch needs, in a folder of its own."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.staging = Staging(folder / "staging")
        self.storage = LocalStorage(folder / "media")
        self.settings: Settings = load_settings(_env_file=None, **settings)
        self.http_client = local_http_client()

    def fetch(self, *, intake: bool = False, **fields: Any) -> Fetched:
        return fetch(
            attachment(**fields),
            intake=intake,
            staging=self.staging,
            http_client=self.http_client,
            storage=self.storage,
            settings=self.settings,
        )

    def staged(self) -> list[str]:
        """The names of all files in the staging directory."""
        folder = self.staging.folder
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []

    def code(self, **fields: Any) -> Code:
        """The code with which a fetch ends; nothing may stay behind."""
        with pytest.raises(PipelineError) as error:
            self.fetch(**fields)
        assert self.staged() == []
        return error.value.code


def attachment(**fields: Any) -> Attachment:
    return Attachment(**{"session": "s", "message_id": "m", **fields})


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def server() -> Iterator[MediaServer]:
    with MediaServer({"plain": PLAIN, "encrypted": encrypt(PLAIN).data}) as running:
        yield running


def whole(bench: Bench, plain: bytes) -> Fetched:
    """What a fetch of these bytes gives, once they are seen to be staged."""
    path = bench.staging.path(attachment().id)
    assert path.read_bytes() == plain
    assert bench.staged() == [path.name]
    return Fetched(size=len(plain), sha256=hashlib.sha256(plain).hexdigest())


def test_a_url_is_fetched_into_staging(bench: Bench, server: MediaServer) -> None:
    assert bench.fetch(url=server.url("plain")) == whole(bench, PLAIN)


def test_ciphertext_is_decrypted_in_the_same_pass(bench: Bench, server: MediaServer) -> None:
    fields = encrypt(PLAIN).fields()
    assert bench.fetch(url=server.url("encrypted"), kind="image", **fields) == whole(bench, PLAIN)


def test_what_was_taken_in_is_fetched_from_storage_and_not_decrypted(bench: Bench) -> None:
    bench.storage.put_chunks([PLAIN], intake_key(attachment().id))
    fields = encrypt(PLAIN).fields()
    assert bench.fetch(intake=True, url="http://127.0.0.1:1/", kind="image", **fields) == whole(bench, PLAIN)


def test_inline_data_is_used_as_it_is(bench: Bench) -> None:
    assert bench.fetch(data=base64.b64encode(PLAIN).decode()) == whole(bench, PLAIN)


def test_inline_data_that_is_no_base64_is_refused(bench: Bench) -> None:
    assert bench.code(data="no base64!") == Code.BAD_PAYLOAD


def test_a_staged_file_is_only_hashed_again(bench: Bench, server: MediaServer) -> None:
    first = bench.fetch(url=server.url("plain"))
    assert bench.fetch(url=server.url("plain")) == first
    assert server.hits("plain") == 1


@pytest.mark.parametrize("left", [b"", PLAIN[:10]])
def test_a_staged_file_that_is_not_what_was_announced_is_fetched_again(
    bench: Bench, server: MediaServer, left: bytes
) -> None:
    announced = hashlib.sha256(PLAIN).hexdigest() if left else None
    bench.fetch(url=server.url("plain"))
    bench.staging.path(attachment().id).write_bytes(left)
    assert bench.fetch(url=server.url("plain"), file_sha256=announced) == whole(bench, PLAIN)
    assert server.hits("plain") == 2


def test_a_staged_file_that_cannot_be_read_may_be_tried_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.staging.folder.mkdir(parents=True)
    (bench.staging.folder / attachment().id).write_bytes(b"x")

    def broken(*_: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(hashlib, "file_digest", broken)
    with pytest.raises(RetryableError) as error:
        bench.fetch(url="http://127.0.0.1:1/")
    assert error.value.code == Code.STAGING


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"url": "https://web.whatsapp.net/"}, id="useless-url"),
        pytest.param({"intake": True}, id="lost-intake"),
    ],
)
def test_an_attachment_without_a_source_is_refused(fields: dict[str, Any], bench: Bench) -> None:
    assert bench.code(**fields) == Code.NO_SOURCE


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"file_sha256": "0" * 64}, id="WA-07-fileSha256"),
        pytest.param({"file_enc_sha256": "0" * 64}, id="WA-07-fileEncSha256"),
        pytest.param({"size": len(PLAIN) + 1}, id="WA-07-fileLength"),
    ],
)
def test_a_file_that_is_not_the_announced_one_is_refused(
    change: dict[str, Any], bench: Bench, server: MediaServer
) -> None:
    fields = {**encrypt(PLAIN).fields(), **change}
    assert bench.code(url=server.url("encrypted"), kind="image", **fields) == Code.HASH_MISMATCH


def test_a_plain_file_with_another_hash_is_refused(bench: Bench, server: MediaServer) -> None:
    """WA-07."""
    assert bench.code(url=server.url("plain"), file_sha256="0" * 64) == Code.HASH_MISMATCH


def test_a_size_that_a_sender_got_wrong_is_no_fault_of_a_plain_file(bench: Bench, server: MediaServer) -> None:
    assert bench.fetch(url=server.url("plain"), size=1) == whole(bench, PLAIN)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(encrypt(PLAIN).data[:-1] + b"x", "decrypt_mac", id="WA-01"),
        pytest.param(encrypt(PLAIN, kind="video").data, "decrypt_mac", id="WA-03"),
        pytest.param(encrypt(PLAIN).data[:20], "decrypt_format", id="WA-04"),
        pytest.param(encrypt(b"", padded=bytes(16)).data, "decrypt_format", id="WA-05"),
        pytest.param(encrypt(b"").data, "empty", id="WA-empty"),
    ],
)
def test_plaintext_gets_its_name_only_when_it_is_genuine(
    data: bytes, code: str, bench: Bench, server: MediaServer
) -> None:
    server.files["encrypted"] = data
    key = encrypt(b"").media_key
    assert bench.code(url=server.url("encrypted"), kind="image", media_key=key) == code


def test_a_malformed_key_is_refused_before_anything_is_downloaded(bench: Bench, server: MediaServer) -> None:
    """WA-02."""
    assert bench.code(url=server.url("encrypted"), kind="image", media_key="AAAA") == Code.DECRYPT_KEY
    assert server.requests == []


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        pytest.param(Answer(206, body=b"part"), "empty", id="HTTP-13-206"),
        pytest.param(Answer(204), "empty", id="HTTP-13-204"),
        pytest.param(Answer(200), "empty", id="HTTP-13-200"),
        pytest.param(Answer(410), "source_gone", id="HTTP-11-410"),
        pytest.param(Answer(503), "fetch_unavailable", id="HTTP-10-503"),
    ],
)
def test_an_answer_without_a_file_stages_nothing(answer: Answer, code: str, bench: Bench, server: MediaServer) -> None:
    server.answers["plain"] = answer
    assert bench.code(url=server.url("plain")) == code


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("../../etc/cron.d/x", id="HTTP-14-path"),
        pytest.param("x" * 4000, id="HTTP-14-long"),
        pytest.param("a\tb", id="HTTP-14-control"),
        pytest.param("con.jpg", id="HTTP-14-device"),
        pytest.param("\u202egpj.exe", id="HTTP-14-direction"),
    ],
)
def test_the_name_that_a_server_gives_plays_no_part(name: str, bench: Bench, server: MediaServer) -> None:
    disposition = f'attachment; filename="{name}"'.encode().decode("latin-1")
    server.answers["plain"] = Answer(200, {"Content-Disposition": disposition}, PLAIN)
    assert bench.fetch(url=server.url("plain")) == whole(bench, PLAIN)


@pytest.mark.parametrize("kind", [pytest.param(kind, id=f"HTTP-12-{kind}") for kind in ("image", "document")])
def test_a_login_page_is_staged_as_any_content_for_detect_to_refuse(
    kind: str, bench: Bench, server: MediaServer
) -> None:
    page = b"<!doctype html><title>Log in</title>"
    server.answers["plain"] = Answer(200, {"Content-Type": "text/html"}, page)
    assert bench.fetch(url=server.url("plain"), kind=kind, mimetype="image/jpeg") == whole(bench, page)


@pytest.mark.parametrize(
    ("script", "code"),
    [
        pytest.param(says(head("Content-Length: 9"), b"x"), "fetch_truncated", id="HTTP-04"),
        pytest.param(floods(head(), bytes(65_536)), "too_large", id="HTTP-02"),
        pytest.param(drips(head("Content-Length: 999")), "fetch_timeout", id="HTTP-06"),
        pytest.param(resets(head("Content-Length: 999999") + bytes(500_000)), "fetch_reset", id="HTTP-09"),
    ],
)
def test_a_download_that_fails_leaves_no_part_behind(script: Any, code: str, tmp_path: Path) -> None:
    bench = Bench(tmp_path, max_sticker_mb=5, fetch_deadline_s=0.6)
    with HostileServer(script) as hostile:
        assert bench.code(url=hostile.url(), kind="sticker") == code


def test_a_second_attempt_can_succeed(bench: Bench) -> None:
    """HTTP-09."""
    broken = resets(head(f"Content-Length: {len(PLAIN)}") + PLAIN[:1000])
    with HostileServer([broken, says(head(f"Content-Length: {len(PLAIN)}"), PLAIN)]) as hostile:
        assert bench.code(url=hostile.url()) == Code.FETCH_RESET
        assert bench.fetch(url=hostile.url()) == whole(bench, PLAIN)


@pytest.mark.parametrize("way", ["plain", "encrypted", "intake", "data"])
@pytest.mark.parametrize(("size", "fits"), [(MB, True), (MB + 1, False)])
def test_the_limit_of_the_kind_is_exact(way: str, size: int, fits: bool, bench: Bench, server: MediaServer) -> None:
    plain = bytes(size)
    encrypted = encrypt(plain, kind="sticker")
    server.files.update(plain=plain, encrypted=encrypted.data)
    bench.storage.put_chunks([plain], intake_key(attachment().id))
    fields: dict[str, Any] = {
        "plain": {"url": server.url("plain")},
        "encrypted": {"url": server.url("encrypted"), **encrypted.fields()},
        "intake": {"intake": True},
        "data": {"data": base64.b64encode(plain).decode()},
    }[way]
    if fits:
        assert bench.fetch(kind="sticker", **fields) == whole(bench, plain)
    else:
        assert bench.code(kind="sticker", **fields) == Code.TOO_LARGE


def test_the_deadline_grows_with_what_has_come(tmp_path: Path) -> None:
    bench = Bench(tmp_path, fetch_deadline_s=0.5, fetch_min_bytes_per_s=1000)
    with HostileServer(drips(head("Content-Length: 4000"), b"x" * 400, every_s=0.1)) as hostile:
        assert bench.fetch(url=hostile.url()).size == 4000


def test_whatsapps_servers_see_the_origin_of_a_browser(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def get(url: str, **given: Any) -> None:
        asked[url] = dict(given["headers"])
        raise PermanentError(Code.SOURCE_GONE, "gone")

    monkeypatch.setattr(bench.http_client, "download", get)
    assert bench.code(direct_path="/v/a?b=c", url="https://web.whatsapp.net/") == Code.SOURCE_GONE
    assert bench.code(url="https://mmg.whatsapp.net.evil.example/v/a") == Code.SOURCE_GONE
    assert bench.code(url="https://[malformed") == Code.SOURCE_GONE
    assert asked == {
        "https://mmg.whatsapp.net/v/a?b=c": {"Origin": "https://web.whatsapp.com"},
        "https://mmg.whatsapp.net.evil.example/v/a": {},
        "https://[malformed": {},
    }


def test_a_direct_path_with_more_than_a_path_is_blocked(bench: Bench) -> None:
    """WA-08."""
    assert bench.code(direct_path="//evil.example/x") == Code.URL_BLOCKED


@pytest.mark.parametrize("fields", [{}, {"media_key": encrypt(b"").media_key, "kind": "document"}])
def test_memory_stays_flat_however_large_the_file(fields: dict[str, Any], bench: Bench, tmp_path: Path) -> None:
    plain = bytes(100 * MB)
    source = tmp_path / "large"
    source.write_bytes(encrypt(plain, kind="document").data if fields else plain)
    del plain
    with MediaServer({"large": source}) as server, peak_memory_below(megabytes=20):
        assert bench.fetch(url=server.url("large"), **fields).size == 100 * MB
