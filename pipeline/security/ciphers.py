"""The primitives of WhatsApp's media encryption. It needs `cryptography`, which a listener does not have."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def expand_key(key: bytes, info: bytes, *, length: int) -> bytes:
    """HKDF-SHA256 without a salt (RFC 5869)."""
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(key)


def aes_cbc(key: bytes, iv: bytes) -> Cipher[CBC]:
    """AES in CBC mode, without padding."""
    return Cipher(AES(key), CBC(iv))
