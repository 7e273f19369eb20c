"""Opens the storage of STORAGE_URL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from pipeline.errors import PipelineError, SettingsError
from pipeline.extras import require_extra
from pipeline.storage.keys import FilePath, Method
from pipeline.storage.local import LocalStorage

OBJECT_STORES = {"s3", "gs", "az"}


class Storage(Protocol):
    """Content by key, see keys.py. Readers see complete content or none.

    Every method raises RetryableError (`storage`) if the disk or the store fails.
    """

    def put_file(self, path: FilePath, key: str) -> bool:
        """Stores the file. False if the key has this content already."""
        ...

    def put_files(self, files: Sequence[tuple[FilePath, str]]) -> list[bool | PipelineError]:
        """Stores several files. Returns the result of `put_file` or the error of each, in order."""
        ...

    def put_chunks(self, chunks: Iterable[bytes], key: str) -> int: ...

    def chunks(self, key: str, *, start: int = 0, stop: int | None = None) -> Iterator[bytes]: ...

    def size(self, key: str) -> int | None: ...

    def local_path(self, key: str) -> Path | None:
        """The local file of the key; None in an object store."""
        ...

    def url(self, key: str) -> str:
        """The URL of the content, without signature or secret."""
        ...

    def signed_url(self, key: str, *, method: Method, seconds: int) -> str | None:
        """A URL at which the store serves the content to anyone for `seconds`; None if it cannot."""
        ...

    def delete(self, key: str) -> None: ...

    def list_older(self, folder: str, seconds: float) -> Iterator[str]:
        """Yields the keys directly below `folder` whose content is older than `seconds`."""
        ...

    def delete_if_older(self, key: str, seconds: float) -> bool:
        """Deletes the content of the key if it is older than `seconds`. Returns whether it did."""
        ...

    def discard_stale_parts(self, seconds: float) -> int: ...


def open_storage(url: str) -> Storage:
    """The storage of this URL: file:///directory or an absolute path, s3://bucket/prefix, gs://…, az://….

    Raises:
        SettingsError: STORAGE_URL is none of these, or the extra `object-store` is missing.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme in OBJECT_STORES and parts.hostname and not (parts.query or parts.username):
        return _object_storage(url)
    folder = Path(unquote(parts.path))
    if parts.scheme in {"file", ""} and parts.hostname in {None, "localhost"} and folder.is_absolute():
        return LocalStorage(folder)
    raise SettingsError("STORAGE_URL: must be file:///folder, s3://bucket/prefix, gs://bucket/prefix or az://container")


def _object_storage(url: str) -> Storage:
    require_extra("object-store", f"STORAGE_URL={urlsplit(url).scheme}://…")
    storage: Storage = import_module("pipeline.storage.object_store").ObjectStorage(url)
    return storage
