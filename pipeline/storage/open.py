"""From STORAGE_URL to the storage behind it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from pipeline.errors import PipelineError, SettingsError
from pipeline.storage.keys import FilePath, Method
from pipeline.storage.local import LocalStorage
from pipeline.storage.object_store import ObjectStorage

OBJECT_STORES = {"s3", "gs", "az"}


class Storage(Protocol):
    """Content by key. Keys come from keys.py; content appears whole or not at all.

    Every method raises RetryableError (`storage`) when the disk or the store does not do what it should.
    """

    def put_file(self, path: FilePath, key: str) -> bool:
        """Stores the whole file; False if it stands there already."""
        ...

    def put_files(self, files: Sequence[tuple[FilePath, str]]) -> list[bool | PipelineError]:
        """Stores files under their keys as `put_file` does one: what comes of each, or its error, in their order."""
        ...

    def put_chunks(self, chunks: Iterable[bytes], key: str) -> int: ...

    def chunks(self, key: str, *, start: int = 0, stop: int | None = None) -> Iterator[bytes]: ...

    def size(self, key: str) -> int | None: ...

    def local_path(self, key: str) -> Path | None:
        """The file of this machine that holds it, where there is one; None in an object store."""
        ...

    def url(self, key: str) -> str:
        """Where the content stands, without signature or secret."""
        ...

    def signed_url(self, key: str, *, method: Method, seconds: int) -> str | None:
        """Where the store itself gives the content to anybody for so long; None if it cannot."""
        ...

    def delete(self, key: str) -> None: ...

    def list_older(self, folder: str, seconds: float) -> Iterator[str]:
        """The keys right below `folder` that were written longer ago than that, a page at a time."""
        ...

    def delete_if_older(self, key: str, seconds: float) -> bool:
        """Deletes it if it was written longer ago than that; whether it did."""
        ...

    def discard_stale_parts(self, seconds: float) -> int: ...


def open_storage(url: str) -> Storage:
    """The storage of this URL: file:///folder or a folder's absolute path, s3://bucket/prefix, gs://…, az://….

    Raises:
        SettingsError: STORAGE_URL is none of these.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme in OBJECT_STORES and parts.hostname and not (parts.query or parts.username):
        return ObjectStorage(url)
    folder = Path(unquote(parts.path))
    if parts.scheme in {"file", ""} and parts.hostname in {None, "localhost"} and folder.is_absolute():
        return LocalStorage(folder)
    raise SettingsError("STORAGE_URL: must be file:///folder, s3://bucket/prefix, gs://bucket/prefix or az://container")
