"""The fetch step, from a source to a complete staged file."""

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
from tests.support.http_client import Names, local_http_client
from tests.support.media_server import Answer, MediaServer
from tests.support.memory import peak_memory_below
from tests.support.whatsapp_media import encrypt

PLAIN = b"\x89PNG not really" * 50_000
MB = 1_000_000


class FetchSystem:
    """The services that fetch needs, in a directory of their own."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.staging = Staging(folder / "staging")
        self.storage = LocalStorage(folder / "media")
        self.settings: Settings = load_settings(
            _env_file=None, **{"fetch_allow_private": "127.0.0.0/8,::1/128", **settings}
        )
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

    def error_code(self, **fields: Any) -> Code:
        """The error code of a fetch; asserts that it leaves no staged file."""
        with pytest.raises(PipelineError) as error:
            self.fetch(**fields)
        assert self.staged() == []
        return error.value.code


def attachment(**fields: Any) -> Attachment:
    return Attachment(**{"session": "s", "message_id": "m", **fields})


@pytest.fixture
def system(tmp_path: Path) -> FetchSystem:
    return FetchSystem(tmp_path)


@pytest.fixture
def server() -> Iterator[MediaServer]:
    with MediaServer({"plain": PLAIN, "encrypted": encrypt(PLAIN).data}) as running:
        yield running


def staged_result(system: FetchSystem, plain: bytes) -> Fetched:
    """The expected result of a fetch of these bytes; asserts that they are staged."""
    path = system.staging.path(attachment().id)
    assert path.read_bytes() == plain
    assert system.staged() == [path.name]
    return Fetched(size=len(plain), sha256=hashlib.sha256(plain).hexdigest())


def test_url_is_downloaded_into_staging(system: FetchSystem, server: MediaServer) -> None:
    assert system.fetch(url=server.url("plain")) == staged_result(system, PLAIN)


def test_ciphertext_is_decrypted_in_the_same_pass(system: FetchSystem, server: MediaServer) -> None:
    fields = encrypt(PLAIN).fields()
    assert system.fetch(url=server.url("encrypted"), kind="image", **fields) == staged_result(system, PLAIN)


def test_intake_content_is_read_from_storage_without_decryption(system: FetchSystem) -> None:
    system.storage.put_chunks([PLAIN], intake_key(attachment().id))
    fields = encrypt(PLAIN).fields()
    assert system.fetch(intake=True, url="http://127.0.0.1:1/", kind="image", **fields) == staged_result(system, PLAIN)


def test_inline_data_is_staged(system: FetchSystem) -> None:
    assert system.fetch(data=base64.b64encode(PLAIN).decode()) == staged_result(system, PLAIN)


def test_invalid_inline_base64_is_refused(system: FetchSystem) -> None:
    assert system.error_code(data="no base64!") == Code.BAD_PAYLOAD


def test_staged_file_is_hashed_and_not_downloaded_again(system: FetchSystem, server: MediaServer) -> None:
    first = system.fetch(url=server.url("plain"))
    assert system.fetch(url=server.url("plain")) == first
    assert server.hits("plain") == 1


@pytest.mark.parametrize("staged_content", [b"", PLAIN[:10]])
def test_staged_file_with_another_hash_is_downloaded_again(
    system: FetchSystem, server: MediaServer, staged_content: bytes
) -> None:
    announced = hashlib.sha256(PLAIN).hexdigest() if staged_content else None
    system.fetch(url=server.url("plain"))
    system.staging.path(attachment().id).write_bytes(staged_content)
    assert system.fetch(url=server.url("plain"), file_sha256=announced) == staged_result(system, PLAIN)
    assert server.hits("plain") == 2


def test_unreadable_staged_file_is_retryable(system: FetchSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    system.staging.folder.mkdir(parents=True)
    (system.staging.folder / attachment().id).write_bytes(b"x")

    def broken(*_: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(hashlib, "file_digest", broken)
    with pytest.raises(RetryableError) as error:
        system.fetch(url="http://127.0.0.1:1/")
    assert error.value.code == Code.STAGING


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"url": "https://web.whatsapp.net/"}, id="useless-url"),
        pytest.param({"intake": True}, id="lost-intake"),
    ],
)
def test_attachment_without_a_source_is_refused(fields: dict[str, Any], system: FetchSystem) -> None:
    assert system.error_code(**fields) == Code.NO_SOURCE


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"file_sha256": "0" * 64}, id="WA-07-fileSha256"),
        pytest.param({"file_enc_sha256": "0" * 64}, id="WA-07-fileEncSha256"),
        pytest.param({"size": len(PLAIN) + 1, "file_sha256": None, "file_enc_sha256": None}, id="WA-07-fileLength"),
    ],
)
def test_decrypted_file_with_another_hash_or_size_is_refused(
    change: dict[str, Any], system: FetchSystem, server: MediaServer
) -> None:
    fields = {**encrypt(PLAIN).fields(), **change}
    assert system.error_code(url=server.url("encrypted"), kind="image", **fields) == Code.HASH_MISMATCH


def test_plain_file_with_another_hash_is_refused(system: FetchSystem, server: MediaServer) -> None:
    """WA-07."""
    assert system.error_code(url=server.url("plain"), file_sha256="0" * 64) == Code.HASH_MISMATCH


def test_plain_file_with_another_size_is_accepted(system: FetchSystem, server: MediaServer) -> None:
    assert system.fetch(url=server.url("plain"), size=1) == staged_result(system, PLAIN)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(encrypt(PLAIN).data[:-1] + b"x", "decrypt_mac", id="WA-01"),
        pytest.param(encrypt(PLAIN, key=bytes(32)).data, "decrypt_mac", id="WA-03"),
        pytest.param(encrypt(PLAIN).data[:20], "decrypt_format", id="WA-04"),
        pytest.param(encrypt(b"", padded=bytes(16)).data, "decrypt_format", id="WA-05"),
        pytest.param(encrypt(b"").data, "empty", id="WA-empty"),
    ],
)
def test_invalid_ciphertext_stages_nothing(data: bytes, code: str, system: FetchSystem, server: MediaServer) -> None:
    server.files["encrypted"] = data
    key = encrypt(b"").media_key
    assert system.error_code(url=server.url("encrypted"), kind="image", media_key=key) == code


def test_malformed_key_is_refused_before_the_download(system: FetchSystem, server: MediaServer) -> None:
    """WA-02."""
    assert system.error_code(url=server.url("encrypted"), kind="image", media_key="AAAA") == Code.DECRYPT_KEY
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
def test_response_without_a_file_stages_nothing(
    answer: Answer, code: str, system: FetchSystem, server: MediaServer
) -> None:
    server.answers["plain"] = answer
    assert system.error_code(url=server.url("plain")) == code


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
def test_file_name_sent_by_the_server_is_ignored(name: str, system: FetchSystem, server: MediaServer) -> None:
    disposition = f'attachment; filename="{name}"'.encode().decode("latin-1")
    server.answers["plain"] = Answer(200, {"Content-Disposition": disposition}, PLAIN)
    assert system.fetch(url=server.url("plain")) == staged_result(system, PLAIN)


@pytest.mark.parametrize("kind", [pytest.param(kind, id=f"HTTP-12-{kind}") for kind in ("image", "document")])
def test_html_page_is_staged_like_any_content(kind: str, system: FetchSystem, server: MediaServer) -> None:
    page = b"<!doctype html><title>Log in</title>"
    server.answers["plain"] = Answer(200, {"Content-Type": "text/html"}, page)
    assert system.fetch(url=server.url("plain"), kind=kind, mimetype="image/jpeg") == staged_result(system, page)


@pytest.mark.parametrize(
    ("script", "code"),
    [
        pytest.param(says(head("Content-Length: 9"), b"x"), "fetch_truncated", id="HTTP-04"),
        pytest.param(floods(head(), bytes(65_536)), "too_large", id="HTTP-02"),
        pytest.param(drips(head("Content-Length: 999")), "fetch_timeout", id="HTTP-06"),
        pytest.param(resets(head("Content-Length: 999999") + bytes(500_000)), "fetch_reset", id="HTTP-09"),
    ],
)
def test_failed_download_leaves_no_staged_file(script: Any, code: str, tmp_path: Path) -> None:
    system = FetchSystem(tmp_path, max_sticker_mb=5, fetch_deadline_s=0.6)
    with HostileServer(script) as hostile:
        assert system.error_code(url=hostile.url(), kind="sticker") == code


def test_second_attempt_succeeds_after_a_reset(system: FetchSystem) -> None:
    """HTTP-09."""
    broken = resets(head(f"Content-Length: {len(PLAIN)}") + PLAIN[:1000])
    with HostileServer([broken, says(head(f"Content-Length: {len(PLAIN)}"), PLAIN)]) as hostile:
        assert system.error_code(url=hostile.url()) == Code.FETCH_RESET
        assert system.fetch(url=hostile.url()) == staged_result(system, PLAIN)


@pytest.mark.parametrize("source", ["plain", "encrypted", "intake", "data"])
@pytest.mark.parametrize(("size", "fits"), [(MB, True), (MB + 1, False)])
def test_size_limit_of_the_kind_is_exact(
    source: str, size: int, fits: bool, system: FetchSystem, server: MediaServer
) -> None:
    plain = bytes(size)
    encrypted = encrypt(plain, kind="sticker")
    server.files.update(plain=plain, encrypted=encrypted.data)
    system.storage.put_chunks([plain], intake_key(attachment().id))
    fields: dict[str, Any] = {
        "plain": {"url": server.url("plain")},
        "encrypted": {"url": server.url("encrypted"), **encrypted.fields()},
        "intake": {"intake": True},
        "data": {"data": base64.b64encode(plain).decode()},
    }[source]
    if fits:
        assert system.fetch(kind="sticker", **fields) == staged_result(system, plain)
    else:
        assert system.error_code(kind="sticker", **fields) == Code.TOO_LARGE


def test_deadline_grows_with_the_received_bytes(tmp_path: Path) -> None:
    system = FetchSystem(tmp_path, fetch_deadline_s=0.5, fetch_min_bytes_per_s=1000)
    with HostileServer(drips(head("Content-Length: 4000"), b"x" * 400, every_s=0.1)) as hostile:
        assert system.fetch(url=hostile.url()).size == 4000


def test_only_whatsapp_servers_receive_the_origin_of_a_browser(
    system: FetchSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers_by_url: dict[str, Any] = {}

    def record_headers(url: str, **options: Any) -> None:
        headers_by_url[url] = dict(options["headers"])
        raise PermanentError(Code.SOURCE_GONE, "gone")

    monkeypatch.setattr(system.http_client, "download", record_headers)
    assert system.error_code(direct_path="/v/a?b=c", url="https://web.whatsapp.net/") == Code.SOURCE_GONE
    assert system.error_code(url="https://mmg.whatsapp.net.evil.example/v/a") == Code.SOURCE_GONE
    assert system.error_code(url="https://[malformed") == Code.SOURCE_GONE
    assert headers_by_url == {
        "https://mmg.whatsapp.net/v/a?b=c": {"Origin": "https://web.whatsapp.com"},
        "https://mmg.whatsapp.net.evil.example/v/a": {},
        "https://[malformed": {},
    }


def test_file_with_a_media_key_is_downloaded_from_whatsapp_only(tmp_path: Path, server: MediaServer) -> None:
    """A forged message with a media key must not make workers wait for its sender's server."""
    sealed = encrypt(PLAIN)
    server.files["sealed"] = sealed.data
    names = {"whatsapp_hosts": f"media.example:{server.port + 1},*.whatsapp.example", "fetch_allow_private": ""}
    system = FetchSystem(tmp_path, **names)
    system.http_client = local_http_client(resolver=Names(["127.0.0.1"]))
    given = {**sealed.fields(), "kind": "image"}
    with pytest.raises(PermanentError, match="WHATSAPP_HOSTS") as error:
        system.fetch(url=server.url("sealed", host="evil.example"), **given)
    assert (error.value.code, server.requests) == (Code.URL_BLOCKED, [])
    assert system.fetch(url=server.url("sealed", host="media.whatsapp.example"), **given).size == len(PLAIN)
    server.answers["moved"] = Answer(302, {"Location": server.url("sealed", host="evil.example")})
    moved = server.url("moved", host="media.whatsapp.example")
    with pytest.raises(PermanentError, match=r"evil\.example is not allowed: .*WHATSAPP_HOSTS"):
        system.fetch(url=moved, message_id="another", **given)
    assert server.hits("sealed") == 1


def test_plain_file_is_downloaded_from_any_public_host(tmp_path: Path, server: MediaServer) -> None:
    system = FetchSystem(tmp_path, fetch_allow_private="")
    system.http_client = local_http_client(resolver=Names(["127.0.0.1"]))
    server.files["plain"] = PLAIN
    assert system.fetch(url=server.url("plain", host="media.example")).size == len(PLAIN)


def test_malformed_direct_path_is_blocked(system: FetchSystem) -> None:
    """WA-08."""
    assert system.error_code(direct_path="//evil.example/x") == Code.URL_BLOCKED


@pytest.mark.parametrize("fields", [{}, {"media_key": encrypt(b"").media_key, "kind": "document"}])
def test_large_file_is_fetched_with_constant_memory(
    fields: dict[str, Any], system: FetchSystem, tmp_path: Path
) -> None:
    plain = bytes(100 * MB)
    source = tmp_path / "large"
    source.write_bytes(encrypt(plain, kind="document").data if fields else plain)
    del plain
    with MediaServer({"large": source}) as server, peak_memory_below(megabytes=20):
        assert system.fetch(url=server.url("large"), **fields).size == 100 * MB
