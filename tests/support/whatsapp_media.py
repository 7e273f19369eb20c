"""WhatsApp ciphertext for tests, produced from the published format and not with the code of the product."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

INFO = {
    "image": b"WhatsApp Image Keys",
    "sticker": b"WhatsApp Image Keys",
    "video": b"WhatsApp Video Keys",
    "audio": b"WhatsApp Audio Keys",
    "ptt": b"WhatsApp Audio Keys",
    "document": b"WhatsApp Document Keys",
    "sticker pack": b"WhatsApp Sticker Pack Keys",
}
KEY = bytes(range(32))


@dataclass(frozen=True)
class Encrypted:
    """An encrypted file as on WhatsApp's servers, with the fields of its message (hashes in hex, key in base64)."""

    data: bytes
    media_key: str
    file_sha256: str
    file_enc_sha256: str
    size: int

    def fields(self) -> dict[str, str | int]:
        """Returns the fields for an Attachment."""
        return {
            "media_key": self.media_key,
            "file_sha256": self.file_sha256,
            "file_enc_sha256": self.file_enc_sha256,
            "size": self.size,
        }


def expand(key: bytes, info: bytes, length: int = 112) -> bytes:
    """HKDF-SHA256 with an empty salt, RFC 5869."""
    secret = hmac.digest(bytes(32), key, "sha256")
    okm = block = b""
    while len(okm) < length:
        block = hmac.digest(secret, block + info + bytes([len(okm) // 32 + 1]), "sha256")
        okm += block
    return okm[:length]


def pad(plain: bytes) -> bytes:
    count = 16 - len(plain) % 16
    return plain + bytes([count]) * count


def encrypt(plain: bytes, *, kind: str = "image", key: bytes = KEY, padded: bytes | None = None) -> Encrypted:
    """Encrypts a file. `padded` replaces the plaintext with its padding, to produce broken files."""
    keys = expand(key, INFO[kind])
    iv, cipher_key, mac_key = keys[:16], keys[16:48], keys[48:80]
    encryptor = Cipher(algorithms.AES(cipher_key), modes.CBC(iv)).encryptor()
    ciphertext = encryptor.update(pad(plain) if padded is None else padded) + encryptor.finalize()
    data = ciphertext + hmac.digest(mac_key, iv + ciphertext, "sha256")[:10]
    return Encrypted(
        data=data,
        media_key=base64.b64encode(key).decode(),
        file_sha256=hashlib.sha256(plain).hexdigest(),
        file_enc_sha256=hashlib.sha256(data).hexdigest(),
        size=len(plain),
    )
