"""Object storage against an S3 API over HTTP."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from pipeline.errors import Code, RetryableError
from pipeline.storage import object_store
from pipeline.storage.object_store import ObjectStorage
from tests.pipeline.storage.contract_storage import KEY, StorageContract, read_all
from tests.support.s3 import BUCKET, S3Server, s3_server

URL = f"s3://{BUCKET}/pre/fix"
UNAVAILABLE = "503 Service Unavailable"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    with s3_server(monkeypatch) as server:
        yield server


@pytest.fixture
def storage(server: S3Server) -> ObjectStorage:
    return ObjectStorage(URL)


@pytest.fixture
def big(tmp_path: Path) -> Path:
    path = tmp_path / "big"
    path.write_bytes(b"x" * (object_store.PART_BYTES * 2 + 1))
    return path


class TestContract(StorageContract):
    big = object_store.PART_BYTES + 100_000


def is_part(environ: dict[str, Any]) -> bool:
    return "partNumber" in environ["QUERY_STRING"]


def test_objects_are_stored_under_the_prefix(storage: ObjectStorage, server: S3Server) -> None:
    storage.put_chunks([b"x"], KEY)
    assert server.keys() == [f"pre/fix/{KEY}"]
    assert storage.url(KEY) == f"{URL}/{KEY}"


def test_range_request_reads_only_the_range(storage: ObjectStorage, big: Path, server: S3Server) -> None:
    asked: list[str] = []

    def note(environ: dict[str, Any]) -> None:
        asked.append(environ.get("HTTP_RANGE", ""))

    storage.put_file(big, KEY)
    server.fault = note
    assert b"".join(storage.chunks(KEY, start=5, stop=9)) == b"xxxx"
    assert asked == ["bytes=5-8"]


def test_signed_url_gives_access_to_one_object(storage: ObjectStorage) -> None:
    storage.put_chunks([b"content"], KEY)
    url = storage.signed_url(KEY, method="GET", seconds=60)
    assert url
    assert "X-Amz-Expires=60" in url
    assert "secret-of-the-store" not in url
    assert requests.get(url, timeout=10).content == b"content"


def test_small_object_needs_two_requests(storage: ObjectStorage, server: S3Server) -> None:
    server.requests.clear()
    storage.put_chunks([b"small", b"er"], KEY)
    assert [line.split()[0] for line in server.requests] == ["PUT", "HEAD"]


def test_large_file_is_uploaded_in_parts(storage: ObjectStorage, server: S3Server, big: Path) -> None:
    server.requests.clear()
    storage.put_file(big, KEY)
    assert sum("partNumber" in line for line in server.requests) == 3
    assert storage.size(KEY) == big.stat().st_size


def test_existing_content_is_not_uploaded_again(storage: ObjectStorage, server: S3Server, big: Path) -> None:
    storage.put_file(big, KEY)
    server.requests.clear()
    storage.put_file(big, KEY)
    assert [line.split()[0] for line in server.requests] == ["HEAD"]


def test_single_store_error_is_retried(storage: ObjectStorage, server: S3Server) -> None:
    faults = iter([UNAVAILABLE])
    server.fault = lambda _: next(faults, None)
    storage.put_chunks([b"x"], KEY)
    assert read_all(storage, KEY) == b"x"


@pytest.mark.parametrize("status", [UNAVAILABLE, "500 Oops", "403 Forbidden", "429 Slow Down"])
def test_repeated_store_error_is_a_retryable_error(
    storage: ObjectStorage, server: S3Server, tmp_path: Path, status: str
) -> None:
    (tmp_path / "file").write_bytes(b"x")
    server.fault = lambda _: status
    began = time.monotonic()
    for use in (
        lambda: storage.put_file(tmp_path / "file", KEY),
        lambda: storage.put_chunks([b"x"], KEY),
        lambda: read_all(storage, KEY),
        lambda: storage.size(KEY),
        lambda: storage.delete(KEY),
    ):
        with pytest.raises(RetryableError) as caught:
            use()
        assert caught.value.code == Code.STORAGE
        assert status[:3] in caught.value.message
        assert server.endpoint not in caught.value.message
    assert time.monotonic() - began < 20
    server.fault = None
    assert server.keys() == []


def test_failed_upload_is_aborted(storage: ObjectStorage, server: S3Server, big: Path) -> None:
    server.fault = lambda environ: (
        UNAVAILABLE if is_part(environ) and "partNumber=2" in environ["QUERY_STRING"] else None
    )
    with pytest.raises(RetryableError):
        storage.put_file(big, KEY)
    server.fault = None
    assert server.unfinished_uploads() == 0
    assert server.keys() == []
    storage.put_file(big, KEY)
    assert storage.size(KEY) == big.stat().st_size


def test_failing_source_aborts_the_upload(storage: ObjectStorage, server: S3Server) -> None:
    def source() -> Iterator[bytes]:
        for _ in range(40):
            yield b"x" * 1024 * 512
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        storage.put_chunks(source(), KEY)
    assert any("partNumber" in line for line in server.requests)
    assert (server.unfinished_uploads(), server.keys()) == (0, [])


def test_listing_reads_all_pages(storage: ObjectStorage, server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "10")
    keys = [f"intake/{number:02}" for number in range(35)]
    for key in keys:
        storage.put_chunks([b"x"], key)
    time.sleep(1.1)
    server.requests.clear()
    assert list(storage.list_older("intake", 0)) == keys
    assert sum("list-type" in line for line in server.requests) == 4


def test_delete_if_older_is_not_retried(storage: ObjectStorage, server: S3Server) -> None:
    storage.put_chunks([b"x"], "intake/a")
    time.sleep(1.1)
    server.requests.clear()
    server.fault = lambda environ: UNAVAILABLE if environ["REQUEST_METHOD"] in {"DELETE", "POST"} else None
    with pytest.raises(RetryableError):
        storage.delete_if_older("intake/a", 0)
    assert len(server.requests) == 2  # the HEAD request, and one attempt
    server.fault = None
    assert storage.delete_if_older("intake/a", 0)


@pytest.mark.parametrize("when", [0, 2])
def test_failed_listing_is_a_retryable_error(
    storage: ObjectStorage, server: S3Server, monkeypatch: pytest.MonkeyPatch, when: int
) -> None:
    monkeypatch.setattr(object_store, "RETRY", {**object_store.RETRY, "max_retries": 0})
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "2")
    for number in range(9):
        storage.put_chunks([b"x"], f"intake/{number}")
    server.requests.clear()
    server.fault = lambda _: UNAVAILABLE if len(server.requests) > when else None
    with pytest.raises(RetryableError) as caught:
        list(ObjectStorage(URL).list_older("intake", 0))
    assert caught.value.message == "the object store answered 503"


def test_wrong_size_after_upload_is_an_error(storage: ObjectStorage, server: S3Server) -> None:
    server.fault = lambda environ: "200 OK" if environ["REQUEST_METHOD"] == "PUT" else None
    with pytest.raises(RetryableError, match="reports nothing"):
        storage.put_chunks([b"x"], KEY)


def test_missing_bucket_is_a_retryable_error(server: S3Server) -> None:
    with pytest.raises(RetryableError):
        ObjectStorage("s3://elsewhere").put_chunks([b"x"], KEY)


def test_unreachable_store_fails_fast(storage: ObjectStorage, server: S3Server) -> None:
    server.close()
    with pytest.raises(RetryableError, match="cannot be reached"):
        storage.size(KEY)


def test_silent_store_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setattr(object_store, "TIMEOUTS", {**object_store.TIMEOUTS, "read_timeout": "300ms"})
    began = time.monotonic()
    with silent, pytest.raises(RetryableError):
        ObjectStorage(URL).put_chunks([b"x"], KEY)
    assert time.monotonic() - began < 10
