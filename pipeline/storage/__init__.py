"""Permanent storage of content, on local disk or in an object store. Keys are derived from the hash only."""

from pipeline.storage.keys import INTAKE, FilePath, content_key, intake_id, intake_key, thumbnail_key
from pipeline.storage.local import LocalStorage
from pipeline.storage.open import Storage, open_storage

__all__ = [
    "INTAKE",
    "FilePath",
    "LocalStorage",
    "Storage",
    "content_key",
    "intake_id",
    "intake_key",
    "open_storage",
    "thumbnail_key",
]
