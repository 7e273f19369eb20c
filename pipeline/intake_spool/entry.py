"""An entry of the intake spool: a JSON file with the attachment, and next to it a file with its inline bytes."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import NamedTuple

from pipeline.models import Attachment
from pipeline.models.attachment import parse_stored_attachment
from pipeline.security.encryption import EncryptionKeyError, SourceCipher

VERSION = 1
MOVE_BACK = "move the files of this name back into the spool"
RESTORE = f"restore the file from a backup and {MOVE_BACK}, or have the message sent again"
_NAME = re.compile(r"([0-9]{16,20})-([0-9a-f]{32})\.json")


class DamagedEntryError(Exception):
    """Raised when an entry cannot be read. `remedy` is what an operator can do."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.remedy = remedy


class EntryName(NamedTuple):
    """The name of an entry. `sequence` is the order, and about when it was written, in Unix microseconds."""

    sequence: int
    media_id: str

    @property
    def file(self) -> str:
        return f"{self.sequence:016d}-{self.media_id}.json"

    @property
    def bytes_file(self) -> str:
        return f"{self.sequence:016d}-{self.media_id}.bytes"


class SpooledAttachment(NamedTuple):
    """What an entry holds: the attachment, and the file with its inline bytes if it has any."""

    attachment: Attachment
    file: Path | None


def parse_name(file: str) -> EntryName | None:
    """The entry whose JSON file has this name; None for any other file."""
    match = _NAME.fullmatch(file)
    return EntryName(int(match[1]), match[2]) if match else None


def encode_entry(attachment: Attachment, cipher: SourceCipher, *, size: int | None) -> bytes:
    """The JSON file of an entry, encrypted if there are keys. `size` is that of its inline bytes; None without any."""
    source = cipher.encrypt(attachment.model_dump_json(exclude={"data"}, exclude_none=True))
    return json.dumps({"version": VERSION, "bytes": size, "check": _check(source), "source": source}).encode()


def read_entry(folder: Path, name: EntryName, cipher: SourceCipher) -> SpooledAttachment:
    """The attachment of an entry.

    Raises:
        DamagedEntryError: it cannot be read or decrypted, or its bytes are missing.
        FileNotFoundError: there is no such entry.
        OSError: the disk fails.
    """
    attachment, size = _decode((folder / name.file).read_bytes(), cipher)
    if attachment.id != name.media_id:
        raise DamagedEntryError("it holds another attachment than its name says", RESTORE)
    if size is None:
        return SpooledAttachment(attachment, None)
    file = folder / name.bytes_file
    if not file.is_file() or file.stat().st_size != size:
        raise DamagedEntryError("its inline bytes are missing or cut off", RESTORE)
    return SpooledAttachment(attachment, file)


def _decode(content: bytes, cipher: SourceCipher) -> tuple[Attachment, int | None]:
    try:
        fields = json.loads(content)
        version, source, size = fields["version"], fields["source"], fields["bytes"]
        if version == VERSION and fields["check"] == _check(source):
            return parse_stored_attachment(cipher.decrypt(source)), size
    except EncryptionKeyError as error:
        raise DamagedEntryError(error.message, f"set the key, restart, and {MOVE_BACK}") from None
    except (ValueError, KeyError, TypeError, AttributeError):  # UnicodeDecodeError and ValidationError are ValueErrors
        raise DamagedEntryError("it is cut off or not an entry", RESTORE) from None
    if version != VERSION:
        raise DamagedEntryError("another version of Esteira wrote it", f"upgrade, and {MOVE_BACK}")
    raise DamagedEntryError("its check sum is wrong", RESTORE)


def _check(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()[:32]
