"""Content that storage holds already, into staging: all checks of a download, and a download where it cannot be had."""

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


class Bench:
    """What fetch needs, with PLAIN in storage."""

    def __init__(self, folder: Path) -> None:
        self.staging = Staging(folder / "staging")
        self.storage = LocalStorage(folder / "media")
        self.storage.put_chunks([PLAIN], content_key(SHA256))

    def fetch(self, *, url: str = "http://127.0.0.1:9/away", max_image_mb: float = 16, **fields: Any) -> Fetched:
        given = {"session": "s", "message_id": "m", "kind": "image", "file_sha256": SHA256, "url": url, **fields}
        return fetch(
            Attachment.model_validate(given),
            intake=False,
            held=True,
            staging=self.staging,
            http_client=local_http_client(),
            storage=self.storage,
            settings=load_settings(_env_file=None, max_image_mb=max_image_mb),
        )

    def staged(self) -> list[bytes]:
        return [path.read_bytes() for path in self.staging.folder.iterdir()]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def server() -> Iterator[MediaServer]:
    with MediaServer({"plain": PLAIN, "encrypted": encrypt(PLAIN).data}) as running:
        yield running


def test_it_comes_from_storage_though_its_source_is_away(bench: Bench) -> None:
    COUNTER_BUFFER.drain()
    assert bench.fetch() == Fetched(size=len(PLAIN), sha256=SHA256, deduplicated=True)
    assert bench.staged() == [PLAIN]
    assert COUNTER_BUFFER.drain()["esteira_not_downloaded_bytes_total"] == len(PLAIN)


def test_the_staged_file_is_one_of_its_own(bench: Bench) -> None:
    """Staging is cleaned by the age of its files, and what is written there must not reach what is stored."""
    bench.fetch()
    [staged] = bench.staging.folder.iterdir()
    stored = bench.storage.local_path(content_key(SHA256))
    assert stored
    assert not staged.samefile(stored)


def test_what_is_not_there_any_more_is_downloaded(bench: Bench, server: MediaServer) -> None:
    bench.storage.delete(content_key(SHA256))
    assert bench.fetch(url=server.url("plain")) == Fetched(size=len(PLAIN), sha256=SHA256)
    assert (bench.staged(), server.hits("plain")) == ([PLAIN], 1)


@pytest.mark.parametrize("damage", [b"", PLAIN[:-1], PLAIN[:-1] + b"x"])
def test_what_storage_has_lost_a_part_of_is_downloaded(bench: Bench, server: MediaServer, damage: bytes) -> None:
    stored = bench.storage.local_path(content_key(SHA256))
    assert stored
    stored.write_bytes(damage)
    assert not bench.fetch(url=server.url("plain")).deduplicated
    assert (bench.staged(), server.hits("plain")) == ([PLAIN], 1)


def test_a_storage_that_cannot_be_read_is_not_waited_for(
    bench: Bench, server: MediaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise RetryableError(Code.STORAGE, "the object store cannot be reached")

    monkeypatch.setattr(LocalStorage, "chunks", away)
    assert not bench.fetch(url=server.url("plain")).deduplicated


def test_the_limit_of_its_own_kind_holds(bench: Bench) -> None:
    with pytest.raises(PipelineError) as error:
        bench.fetch(max_image_mb=0.1)
    assert error.value.code is Code.TOO_LARGE
    assert bench.staged() == []


def test_a_size_that_was_declared_wrong_beside_a_key_is_refused_as_ever(bench: Bench, server: MediaServer) -> None:
    fields = {**encrypt(PLAIN).fields(), "size": len(PLAIN) + 1}
    with pytest.raises(PipelineError) as error:
        bench.fetch(url=server.url("encrypted"), **fields)
    assert error.value.code is Code.HASH_MISMATCH
    assert bench.staged() == []
