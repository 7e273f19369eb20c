"""Fetch of content that storage already holds: the checks of a download, and a download if it cannot be read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.settings import load_settings
from pipeline.errors import Code, PipelineError, RetryableError
from pipeline.metrics import COUNTER_BUFFER
from pipeline.models import Attachment, Fetched
from pipeline.steps.fetch import fetch
from pipeline.storage import LocalStorage, content_key
from pipeline.storage.staging import Staging
from tests.support.http_client import local_http_client
from tests.support.media_server import MediaServer
from tests.support.whatsapp_media import encrypt

PLAIN = b"\x89PNG not really" * 50_000
SHA256 = hashlib.sha256(PLAIN).hexdigest()


class FetchSystem:
    """The services that fetch needs, with PLAIN in storage."""

    def __init__(self, folder: Path) -> None:
        self.staging = Staging(folder / "staging")
        self.storage = LocalStorage(folder / "media")
        self.storage.put_chunks([PLAIN], content_key(SHA256))

    def fetch(self, *, url: str = "http://127.0.0.1:9/away", max_image_mb: float = 16, **fields: Any) -> Fetched:
        declared = {"session": "s", "message_id": "m", "kind": "image", "file_sha256": SHA256, "url": url, **fields}
        return fetch(
            Attachment.model_validate(declared),
            intake=False,
            content_in_storage=True,
            staging=self.staging,
            http_client=local_http_client(),
            storage=self.storage,
            settings=load_settings(_env_file=None, max_image_mb=max_image_mb, fetch_allow_private="127.0.0.1/32"),
        )

    def staged(self) -> list[bytes]:
        return [path.read_bytes() for path in self.staging.folder.iterdir()]


@pytest.fixture
def system(tmp_path: Path) -> FetchSystem:
    return FetchSystem(tmp_path)


@pytest.fixture
def server() -> Iterator[MediaServer]:
    with MediaServer({"plain": PLAIN, "encrypted": encrypt(PLAIN).data}) as running:
        yield running


def test_stored_content_is_staged_without_its_source(system: FetchSystem) -> None:
    COUNTER_BUFFER.drain()
    assert system.fetch() == Fetched(size=len(PLAIN), sha256=SHA256, deduplicated=True)
    assert system.staged() == [PLAIN]
    assert COUNTER_BUFFER.drain()["esteira_not_downloaded_bytes_total"] == len(PLAIN)


def test_staged_file_is_a_copy_of_the_stored_file(system: FetchSystem) -> None:
    """Staging deletes files by their age, and writes to a staged file must not change the stored file."""
    system.fetch()
    [staged] = system.staging.folder.iterdir()
    stored = system.storage.local_path(content_key(SHA256))
    assert stored
    assert not staged.samefile(stored)


def test_missing_stored_content_is_downloaded(system: FetchSystem, server: MediaServer) -> None:
    system.storage.delete(content_key(SHA256))
    assert system.fetch(url=server.url("plain")) == Fetched(size=len(PLAIN), sha256=SHA256)
    assert (system.staged(), server.hits("plain")) == ([PLAIN], 1)


@pytest.mark.parametrize("damage", [b"", PLAIN[:-1], PLAIN[:-1] + b"x"])
def test_damaged_stored_content_is_downloaded(system: FetchSystem, server: MediaServer, damage: bytes) -> None:
    stored = system.storage.local_path(content_key(SHA256))
    assert stored
    stored.write_bytes(damage)
    assert not system.fetch(url=server.url("plain")).deduplicated
    assert (system.staged(), server.hits("plain")) == ([PLAIN], 1)


def test_unavailable_storage_causes_a_download(
    system: FetchSystem, server: MediaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(*_: Any) -> None:
        raise RetryableError(Code.STORAGE, "the object store cannot be reached")

    monkeypatch.setattr(LocalStorage, "chunks", unavailable)
    assert not system.fetch(url=server.url("plain")).deduplicated


def test_stored_content_obeys_the_size_limit_of_the_kind(system: FetchSystem) -> None:
    with pytest.raises(PipelineError) as error:
        system.fetch(max_image_mb=0.1)
    assert error.value.code is Code.TOO_LARGE
    assert system.staged() == []


def test_stored_content_outranks_a_wrong_declared_size(system: FetchSystem, server: MediaServer) -> None:
    fields = {**encrypt(PLAIN).fields(), "size": len(PLAIN) + 1}
    assert system.fetch(url=server.url("encrypted"), **fields).deduplicated
