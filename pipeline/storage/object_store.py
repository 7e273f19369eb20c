"""Storage in an object store: S3 and what speaks its language, Google Cloud Storage, Azure."""

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

PART_BYTES = 8 * 1024 * 1024  # S3 wants 5 MiB or more, and at most 10,000 of them
LIST_PAGE = 1000  # keys; S3 gives no more at once
PARTS_AT_ONCE = 2  # memory of one upload: about three parts

# obstore's own are 10 tries over 180 s: longer than the time that one attempt of a stage may take.
RETRY: RetryConfig = {
    "max_retries": 2,
    "retry_timeout": timedelta(seconds=20),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=2), "base": 2},
}
# Silence ends a request, not its length: a large download may take its time.
TIMEOUTS: ClientConfig = {"connect_timeout": "5s", "read_timeout": "20s", "timeout": "3600s"}


class ObjectStorage:
    """Content in a bucket. Credentials and endpoint come from the store's own variables: AWS_…, GOOGLE_…, AZURE_….

    Must be used in one process only: its client's threads do not survive a fork.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        try:
            self._store: Any = from_url(url, client_options=_client_options(), retry_config=RETRY)
            self._once: Any = from_url(url, client_options=_client_options(), retry_config={**RETRY, "max_retries": 0})
        except (BaseError, ValueError):
            raise SettingsError("STORAGE_URL: is no URL of an object store: use s3://bucket/prefix") from None

    def put_file(self, path: FilePath, key: str) -> bool:
        """Stores the whole file under the key; False if that stands already with this size.

        Raises:
            RetryableError: `storage`, if the store refuses, fails, or does not show the whole object afterwards.
            StagingLostError: there is no such file.
        """
        size = staged_size(path)
        if self.size(key) == size:
            return False
        self._put(key, Path(path))
        self._verify(key, size)
        return True

    def put_files(self, files: Sequence[tuple[FilePath, str]]) -> list[bool | PipelineError]:
        """Stores files under their keys as `put_file` does one: what comes of each, or its error, in their order."""
        return map_parallel(lambda file: self.put_file(*file), files)

    def put_chunks(self, chunks: Iterable[bytes], key: str) -> int:
        """Stores these bytes under the key, in place of what stood there; returns how many.

        Raises:
            RetryableError: `storage`, if the store refuses, fails, or does not show the whole object afterwards.
        """
        source = _Counted(chunks)
        beginning = b"".join(source.until(PART_BYTES))
        # What fits into one part goes in one request instead of three.
        self._put(key, beginning if source.ended else itertools.chain([beginning], source))
        self._verify(key, source.size)
        return source.size

    def chunks(self, key: str, *, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The content in pieces of at most 256 KiB, from byte `start` up to before byte `stop`, both within it.

        Raises:
            PermanentError: `no_source`, if nothing stands there.
            RetryableError: `storage`, if it cannot be read.
        """
        part: GetOptions = {"range": {"offset": start} if stop is None else (start, stop)} if start or stop else {}
        with _trouble():
            try:
                found = obstore.get(self._store, checked_key(key), options=part)
                stream = iter(found.stream(min_chunk_size=CHUNK_BYTES))
            except FileNotFoundError:
                raise PermanentError(Code.NO_SOURCE, "storage does not hold this content") from None
        while piece := _next(stream):
            for at in range(0, len(piece), CHUNK_BYTES):
                yield piece[at : at + CHUNK_BYTES]

    def size(self, key: str) -> int | None:
        """How many bytes stand under the key, or None."""
        with _trouble():
            try:
                return obstore.head(self._store, checked_key(key))["size"]
            except FileNotFoundError:
                return None

    def local_path(self, key: str) -> Path | None:
        """None: it lies elsewhere."""
        checked_key(key)
        return None

    def url(self, key: str) -> str:
        return f"{self._url}/{checked_key(key)}"

    def signed_url(self, key: str, *, method: Method, seconds: int) -> str | None:
        """A URL at which the store itself answers this method for so long; None if these credentials sign nothing."""
        try:
            signed: str = obstore.sign(self._store, method, checked_key(key), timedelta(seconds=seconds))
        except BaseError:
            return None
        return signed

    def delete(self, key: str) -> None:
        """Removes what stands under the key, if anything does."""
        with _trouble():
            try:
                obstore.delete(self._store, checked_key(key))
            except FileNotFoundError:
                return

    def list_older(self, folder: str, seconds: float) -> Iterator[str]:
        """The keys right below `folder` whose content was written longer ago than that, by the store's clock.

        Raises:
            RetryableError: `storage`, if they cannot be listed.
        """
        with _trouble():
            pages = iter(obstore.list(self._store, prefix=checked_key(folder), chunk_size=LIST_PAGE))
        while page := _next_page(pages):
            for entry in page:
                key = entry["path"]
                if is_key(key) and key.rpartition("/")[0] == folder and _is_older(entry, seconds):
                    yield key

    def delete_if_older(self, key: str, seconds: float) -> bool:
        """Removes what stands under the key if it was written longer ago than that; whether it did."""
        with _trouble():
            try:
                old = _is_older(obstore.head(self._store, checked_key(key)), seconds)
                if old:
                    # At once or not at all: it may be written again by the time of another try.
                    obstore.delete(self._once, key)
            except FileNotFoundError:
                return False
        return old

    def discard_stale_parts(self, seconds: float) -> int:  # noqa: ARG002  part of the interface
        """Nothing to do: an upload that fails is aborted. Those of a killed process belong to a rule of the bucket."""
        return 0

    def _put(self, key: str, content: Path | bytes | Iterable[bytes]) -> None:
        with _trouble():
            obstore.put(self._store, checked_key(key), content, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE)

    def _verify(self, key: str, size: int) -> None:
        found = self.size(key)
        if found != size:
            shown = "nothing" if found is None else f"{found} bytes"
            raise RetryableError(Code.STORAGE, f"the object store took {size} bytes and shows {shown}")


class _Counted:
    """Counts the bytes of chunks as they are taken."""

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
        """Chunks up to about this size; `ended` tells afterwards whether that was all."""
        while self.size < size and not self.ended:
            yield from itertools.islice(iter(self), 1)


@contextmanager
def _trouble() -> Iterator[None]:
    """What the store's client raises, in one line: its own words hold whole URLs."""
    try:
        yield
    except (BaseError, OSError) as error:
        status = re.search(r"status code: (\d{3})", str(error))
        words = f"answered {status[1]}" if status else f"cannot be reached ({type(error).__name__})"
        raise RetryableError(Code.STORAGE, f"the object store {words}") from None


def _next(stream: Iterator[Any]) -> bytes:
    with _trouble():
        return bytes(next(stream, b""))


def _next_page(pages: Iterator[Any]) -> Sequence[ObjectMeta]:
    with _trouble():
        page: Sequence[ObjectMeta] = next(pages, ())
        return page


def _is_older(found: ObjectMeta, seconds: float) -> bool:
    return datetime.now(UTC) - found["last_modified"] > timedelta(seconds=seconds)


def _client_options() -> ClientConfig:
    endpoint = os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT") or ""
    return {**TIMEOUTS, "allow_http": True} if endpoint.startswith("http://") else TIMEOUTS
