"""Storage in an object store: S3 and compatible stores, Google Cloud Storage, Azure."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
from obstore.exceptions import BaseError
from obstore.store import from_url

from pipeline.errors import Code, PermanentError, PipelineError, RetryableError, SettingsError
from pipeline.parallel import map_parallel
from pipeline.storage.keys import CHUNK_BYTES, FilePath, Method, checked_key, is_key
from pipeline.storage.local import staged_size

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta
    from obstore.store import ClientConfig, RetryConfig  # obstore has them for type checkers only

PART_BYTES = 8 * 1024 * 1024  # S3 requires at least 5 MiB, and allows 10,000 parts
LIST_PAGE = 1000  # keys in one response; the maximum of S3
PARTS_AT_ONCE = 2  # an upload needs the memory of about three parts

# The default is 10 retries within 180 s, which is longer than one attempt at a stage may take.
RETRY: RetryConfig = {
    "max_retries": 2,
    "retry_timeout": timedelta(seconds=20),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=2), "base": 2},
}
# A request times out when the store is silent, not because of its duration: a large download may take long.
TIMEOUTS: ClientConfig = {"connect_timeout": "5s", "read_timeout": "20s", "timeout": "3600s"}


class ObjectStorage:
    """Content in a bucket. Credentials and endpoint come from the standard variables: AWS_…, GOOGLE_…, AZURE_….

    Must not be used across a fork, which the threads of its client do not survive.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        try:
            self._store: Any = from_url(url, client_options=_client_options(), retry_config=RETRY)
            self._store_without_retries: Any = from_url(
                url, client_options=_client_options(), retry_config={**RETRY, "max_retries": 0}
            )
        except (BaseError, ValueError):
            raise SettingsError("STORAGE_URL: not the URL of an object store: use s3://bucket/prefix") from None

    def put_file(self, path: FilePath, key: str) -> bool:
        """Stores the file under the key. False if the key has content of this size already.

        Raises:
            RetryableError: `storage`, if the store refuses, fails, or does not report the complete object afterwards.
            StagingLostError: the file does not exist.
        """
        size = staged_size(path)
        if self.size(key) == size:
            return False
        self._put(key, Path(path))
        self._verify(key, size)
        return True

    def put_files(self, files: Sequence[tuple[FilePath, str]]) -> list[bool | PipelineError]:
        """Stores several files. Returns the result of `put_file` or the error of each, in order."""
        return map_parallel(lambda file: self.put_file(*file), files)

    def put_chunks(self, chunks: Iterable[bytes], key: str) -> int:
        """Stores these bytes under the key, replacing its content. Returns the number of bytes.

        Raises:
            RetryableError: `storage`, if the store refuses, fails, or does not report the complete object afterwards.
        """
        source = _CountedChunks(chunks)
        beginning = b"".join(source.until(PART_BYTES))
        # Content that fits into one part needs one request instead of three.
        self._put(key, beginning if source.ended else itertools.chain([beginning], source))
        self._verify(key, source.size)
        return source.size

    def chunks(self, key: str, *, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yields the content in chunks of at most 256 KiB, from byte `start` to before byte `stop`.

        Raises:
            PermanentError: `no_source`, if the key has no content.
            RetryableError: `storage`, if it cannot be read.
        """
        options: GetOptions = {"range": {"offset": start} if stop is None else (start, stop)} if start or stop else {}
        with _translated_errors():
            try:
                response = obstore.get(self._store, checked_key(key), options=options)
                stream = iter(response.stream(min_chunk_size=CHUNK_BYTES))
            except FileNotFoundError:
                raise PermanentError(Code.NO_SOURCE, "storage does not hold this content") from None
        while data := _next(stream):
            for start_of_chunk in range(0, len(data), CHUNK_BYTES):
                yield data[start_of_chunk : start_of_chunk + CHUNK_BYTES]

    def size(self, key: str) -> int | None:
        """The size of the content in bytes, or None."""
        with _translated_errors():
            try:
                return obstore.head(self._store, checked_key(key))["size"]
            except FileNotFoundError:
                return None

    def local_path(self, key: str) -> Path | None:
        """None: the content is not on this machine."""
        checked_key(key)
        return None

    def url(self, key: str) -> str:
        return f"{self._url}/{checked_key(key)}"

    def signed_url(self, key: str, *, method: Method, seconds: int) -> str | None:
        """A URL at which the store answers this method for `seconds`; None if the credentials cannot sign."""
        try:
            signed: str = obstore.sign(self._store, method, checked_key(key), timedelta(seconds=seconds))
        except BaseError:
            return None
        return signed

    def delete(self, key: str) -> None:
        """Deletes the content of the key, if there is any."""
        with _translated_errors():
            try:
                obstore.delete(self._store, checked_key(key))
            except FileNotFoundError:
                return

    def list_older(self, folder: str, seconds: float) -> Iterator[str]:
        """Yields the keys directly below `folder` whose content is older than `seconds` by the store's clock.

        Raises:
            RetryableError: `storage`, if they cannot be listed.
        """
        with _translated_errors():
            pages = iter(obstore.list(self._store, prefix=checked_key(folder), chunk_size=LIST_PAGE))
        while page := _next_page(pages):
            for entry in page:
                key = entry["path"]
                if is_key(key) and key.rpartition("/")[0] == folder and _is_older(entry, seconds):
                    yield key

    def delete_if_older(self, key: str, seconds: float) -> bool:
        """Deletes the content of the key if it is older than `seconds`. Returns whether it did."""
        with _translated_errors():
            try:
                old = _is_older(obstore.head(self._store, checked_key(key)), seconds)
                if old:
                    # Without retries: by the time of a retry the key may have new content.
                    obstore.delete(self._store_without_retries, key)
            except FileNotFoundError:
                return False
        return old

    def discard_stale_parts(self, seconds: float) -> int:  # noqa: ARG002  part of the interface
        """Nothing to do: failed uploads are aborted. Those of killed processes need a lifecycle rule of the bucket."""
        return 0

    def _put(self, key: str, content: Path | bytes | Iterable[bytes]) -> None:
        with _translated_errors():
            obstore.put(self._store, checked_key(key), content, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE)

    def _verify(self, key: str, size: int) -> None:
        reported = self.size(key)
        if reported != size:
            text = "nothing" if reported is None else f"{reported} bytes"
            raise RetryableError(Code.STORAGE, f"the object store received {size} bytes and reports {text}")


class _CountedChunks:
    """Counts the bytes of chunks while they are read."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self.size = 0
        self.ended = False

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.size += len(chunk)
            yield chunk
        self.ended = True

    def until(self, size: int) -> Iterator[bytes]:
        """Yields chunks up to about this size. `ended` is True afterwards if there are no more."""
        while self.size < size and not self.ended:
            yield from itertools.islice(iter(self), 1)


@contextmanager
def _translated_errors() -> Iterator[None]:
    """Translates the client's errors to one line, because their text contains complete URLs."""
    try:
        yield
    except (BaseError, OSError) as error:
        status = re.search(r"status code: (\d{3})", str(error))
        text = f"answered {status[1]}" if status else f"cannot be reached ({type(error).__name__})"
        raise RetryableError(Code.STORAGE, f"the object store {text}") from None


def _next(stream: Iterator[Any]) -> bytes:
    with _translated_errors():
        return bytes(next(stream, b""))


def _next_page(pages: Iterator[Any]) -> Sequence[ObjectMeta]:
    with _translated_errors():
        page: Sequence[ObjectMeta] = next(pages, ())
        return page


def _is_older(entry: ObjectMeta, seconds: float) -> bool:
    return datetime.now(UTC) - entry["last_modified"] > timedelta(seconds=seconds)


def _client_options() -> ClientConfig:
    endpoint = os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT") or ""
    return {**TIMEOUTS, "allow_http": True} if endpoint.startswith("http://") else TIMEOUTS
