"""Encryption of the sources of attachments: their media keys and URLs, with the keys of ENCRYPTION_KEYS (Fernet)."""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Sequence
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pipeline.errors import AwayError, Code
from pipeline.extras import require_extra

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

_ENCRYPTED = re.compile(r"enc1:([0-9a-f]{8}):")
PREFIX_LENGTH = len("enc1:01234567:")  # characters before the Fernet token; they name the key
RETRY_S = 30  # until an attachment is tried again whose key is missing
REMEDY = "add it to ENCRYPTION_KEYS and restart; `esteira rotate-keys --dry-run` counts the rows of each key"


class EncryptionKeyError(AwayError):
    """Raised when a stored source cannot be decrypted with the keys that are set. Its row stays as it is."""

    def __init__(self, message: str) -> None:
        super().__init__(Code.ENCRYPTION_KEY, message, retry_after=RETRY_S)


class SourceCipher:
    """Encrypts with the first key and decrypts with all of them. Without keys it leaves new texts as they are.

    A stored text is `enc1:<key id>:<Fernet token>`, or plain if it was written without encryption. `mark_key` is the
    key of source marks, derived from the first key; None without keys.
    """

    def __init__(self, keys: Sequence[str] = ()) -> None:
        """`keys` are 32 bytes each in URL-safe base64; ENCRYPTION_KEYS is validated when the settings are read.

        Raises:
            MissingExtraError: there are keys, and the extra `encryption` is missing.
        """
        if keys:
            require_extra("encryption", "ENCRYPTION_KEYS")
        self._fernets = {_key_id(key): _fernet(key) for key in keys}
        self.key_ids = tuple(self._fernets)
        self._current = self.key_ids[0] if keys else None
        self.mark_key = _derived(keys[0], "source mark") if keys else None

    def encrypt(self, text: str) -> str:
        if self._current is None:
            return text
        return f"enc1:{self._current}:{self._fernets[self._current].encrypt(text.encode()).decode()}"

    def decrypt(self, stored: str) -> str:
        """The text that was encrypted, or a plain text as it is.

        Raises:
            EncryptionKeyError: its key is not set, or the token is damaged.
        """
        name = key_id(stored)
        if name is None:
            return stored
        fernet = self._fernets.get(name)
        if fernet is None:
            raise EncryptionKeyError(f"the source is encrypted with the key {name}, which is not set: {REMEDY}")
        try:
            return fernet.decrypt(stored[PREFIX_LENGTH:]).decode()
        except _fernet_module().InvalidToken:
            message = f"the source is damaged: the key {name} does not decrypt it; restore the row from a backup"
            raise EncryptionKeyError(message) from None

    def is_current(self, stored: str) -> bool:
        """Whether the text is stored as `encrypt` stores it now: with the first key, or plain without keys."""
        return key_id(stored) == self._current


def key_id(stored: str) -> str | None:
    """The id of the key that encrypted a stored text; None for a plain text."""
    match = _ENCRYPTED.match(stored)
    return match[1] if match else None


@lru_cache(maxsize=32)
def _fernet(key: str) -> Fernet:
    fernet: Fernet = _fernet_module().Fernet(key)
    return fernet


def _fernet_module() -> Any:
    return import_module("cryptography.fernet")


def _key_id(key: str) -> str:
    return _derived(key, "key id").hex()[:8]


def _derived(key: str, purpose: str) -> bytes:
    """32 bytes that are derived from the key for one purpose and tell nothing about the key."""
    return hmac.digest(base64.urlsafe_b64decode(key), f"esteira {purpose}".encode(), "sha256")
