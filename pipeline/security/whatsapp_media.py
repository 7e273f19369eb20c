"""WhatsApp's encrypted media: their URLs, the keys derived from a media key, and decryption as a stream.

The format is that of WhatsApp Web's clients: AES-256-CBC with PKCS#7 padding, then the first ten bytes of an
HMAC-SHA256 over the iv and the ciphertext.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from pipeline.errors import Code, PermanentError
from pipeline.models import Attachment, Kind
from pipeline.values.gateway_values import decode_bytes

Bytes = bytes | memoryview

KEY_BYTES = 32
MAC_BYTES = 10
BLOCK = 16
OVERHEAD = BLOCK + MAC_BYTES  # bytes by which the ciphertext is longer than the plaintext, at most
ORIGIN = "https://web.whatsapp.com"  # as a browser sends it; some of WhatsApp's servers require it
# WhatsApp Web puts this into `url` when there is only a direct path.
USELESS_URLS = frozenset({"https://web.whatsapp.net", "https://web.whatsapp.net/"})

# The same text for every fault of a ciphertext: its sender learns nothing from it.
REFUSAL = "the encrypted file was changed, or the media key belongs to another file"

# Stickers are encrypted as images and voice notes as audio: there are four infos for six kinds.
_INFO = {
    Kind.IMAGE: b"WhatsApp Image Keys",
    Kind.STICKER: b"WhatsApp Image Keys",
    Kind.VIDEO: b"WhatsApp Video Keys",
    Kind.AUDIO: b"WhatsApp Audio Keys",
    Kind.PTT: b"WhatsApp Audio Keys",
    Kind.DOCUMENT: b"WhatsApp Document Keys",
}
_OTHER_INFO = (b"WhatsApp Sticker Pack Keys",)  # of files that are no kind of their own
_DIRECT_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%-][A-Za-z0-9._~!$&'()*+,;=:@%/?-]*")
_DOT_SEGMENT = re.compile(r"(?:^|/|%2f|%5c)(?:\.|%2e){1,2}(?:/|%2f|%5c|$)", re.IGNORECASE)


@dataclass(frozen=True)
class MediaKeys:
    """The keys that a media key expands to: 16, 32 and 32 bytes. They are not part of the repr."""

    iv: bytes = field(repr=False)
    cipher: bytes = field(repr=False)
    mac: bytes = field(repr=False)


def media_keys(media_key: str, kind: Kind) -> MediaKeys:
    """Derives the keys of one file. `media_key` is 32 bytes in base64 or hex.

    Raises:
        PermanentError: `decrypt_key`, if it is anything else.
    """
    return _expanded(media_key, _INFO[kind])


def other_keys(media_key: str, kind: Kind) -> list[MediaKeys]:
    """The keys of the other labels: some clients send a sound that they have encrypted as a document.

    Raises:
        PermanentError: `decrypt_key`.
    """
    labels = dict.fromkeys(info for info in (*_INFO.values(), *_OTHER_INFO) if info != _INFO[kind])
    return [_expanded(media_key, label) for label in labels]


def _expanded(media_key: str, info: bytes) -> MediaKeys:
    key = decode_bytes(media_key)
    if key is None or len(key) != KEY_BYTES:
        raise PermanentError(Code.DECRYPT_KEY, f"the media key is not {KEY_BYTES} bytes in base64 or hex")
    expanded = _ciphers().expand_key(key, info, length=112)
    return MediaKeys(iv=expanded[:16], cipher=expanded[16:48], mac=expanded[48:80])


def _ciphers() -> Any:
    return import_module("pipeline.security.ciphers")


def keys_that_verify(candidates: Sequence[MediaKeys], encrypted: Iterable[bytes]) -> MediaKeys | None:
    """The keys under which the MAC of the encrypted bytes holds, or None. A MAC that holds proves keys and bytes."""
    macs = [hmac.new(keys.mac, keys.iv, hashlib.sha256) for keys in candidates]
    held = b""
    for piece in encrypted:
        joined = held + piece
        held = joined[-MAC_BYTES:]
        for mac in macs:
            mac.update(joined[:-MAC_BYTES])
    digests = [mac.digest()[:MAC_BYTES] for mac in macs]
    return next((keys for keys, own in zip(candidates, digests, strict=True) if hmac.compare_digest(own, held)), None)


def key_kind(attachment: Attachment) -> Kind:
    """The kind that the keys depend on: the declared kind, else that of the declared type, else a document."""
    if attachment.kind:
        return attachment.kind
    family = (attachment.media_type or "").partition("/")[0]
    return {"image": Kind.IMAGE, "video": Kind.VIDEO, "audio": Kind.AUDIO}.get(family, Kind.DOCUMENT)


def media_url(attachment: Attachment, hosts: Sequence[str]) -> str | None:
    """The URL of the file: the direct path on the first of `hosts`, else the declared URL; None without either.

    Raises:
        PermanentError: `url_blocked`, if the direct path is not a plain path.
    """
    if hosts and (path := attachment.direct_path):
        if not _DIRECT_PATH.fullmatch(path) or _DOT_SEGMENT.search(path.partition("?")[0]):
            raise PermanentError(Code.URL_BLOCKED, "the direct path is not a plain path")
        return f"https://{hosts[0]}{path}"
    return None if attachment.url in USELESS_URLS else attachment.url


class Decryptor:
    """Decrypts one file piece by piece, and verifies it at the end.

    The output of `update` and `finish` must not be used before `finish` has returned.
    """

    def __init__(self, keys: MediaKeys) -> None:
        self._keys = keys
        self._cipher = _ciphers().aes_cbc(keys.cipher, keys.iv).decryptor()
        self._mac = hmac.new(keys.mac, keys.iv, hashlib.sha256)
        self._enc_hash = hashlib.sha256()
        self._hash = hashlib.sha256()
        self._held = b""  # the last 26 to 41 bytes so far: they may be the padding and the MAC
        self._out = bytearray()
        self.received = 0  # bytes, encrypted or not
        self.size = 0  # bytes of plaintext so far

    def update(self, piece: Bytes) -> memoryview:
        """The plaintext that this piece completes. Valid until the next call."""
        view = memoryview(piece)
        self._enc_hash.update(view)
        self.received += len(view)
        ready = (len(self._held) + len(view) - OVERHEAD) // BLOCK * BLOCK  # only whole blocks: see `received_again`
        if ready <= len(self._held):
            joined, ready = self._held + bytes(view), max(ready, 0)
            self._held = joined[ready:]
            return self._decrypted(joined[:ready])
        cut = ready - len(self._held)
        held, self._held = self._held, bytes(view[cut:])
        return self._decrypted(held, view[:cut])

    def _decrypted(self, *parts: Bytes) -> memoryview:
        room = sum(len(memoryview(part)) for part in parts) + BLOCK * (len(parts) + 1)
        if len(self._out) < room:
            self._out = bytearray(room)
        out = memoryview(self._out)
        count = 0
        for part in parts:
            self._mac.update(part)
            count += self._cipher.update_into(part, out[count:])
        self._hash.update(out[:count])
        self.size += count
        return out[:count]

    def finish(self) -> bytes:
        """Verifies the MAC of the whole ciphertext, and returns the rest of the plaintext.

        Raises:
            PermanentError: `decrypt_format` or `decrypt_mac`.
        """
        if self.received < OVERHEAD or (self.received - MAC_BYTES) % BLOCK:
            raise PermanentError(Code.DECRYPT_FORMAT, REFUSAL)
        last, mac = self._held[:-MAC_BYTES], self._held[-MAC_BYTES:]
        self._mac.update(last)
        if not hmac.compare_digest(self._mac.digest()[:MAC_BYTES], mac):
            raise PermanentError(Code.DECRYPT_MAC, REFUSAL)
        rest = _unpadded(self._cipher.update(last))
        self._hash.update(rest)
        self.size += len(rest)
        return rest

    def received_again(self, plaintext: Iterable[bytes]) -> Iterator[bytes]:
        """All received bytes, from what `update` has returned so far: encrypted again, it is what came.

        So the received bytes need not be kept for the rare file that these keys do not open.
        """
        encryptor = _ciphers().aes_cbc(self._keys.cipher, self._keys.iv).encryptor()
        yield from map(encryptor.update, plaintext)
        yield self._held

    @property
    def file_sha256(self) -> str:
        """The hash of the plaintext so far, in hex."""
        return self._hash.hexdigest()

    @property
    def file_enc_sha256(self) -> str:
        """The hash of the ciphertext with its MAC so far, in hex."""
        return self._enc_hash.hexdigest()


def _unpadded(block: bytes) -> bytes:
    count = block[-1]
    if not 1 <= count <= BLOCK or block[-count:] != bytes([count]) * count:
        raise PermanentError(Code.DECRYPT_FORMAT, REFUSAL)
    return block[:-count]
