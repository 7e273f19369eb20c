"""A TLS server that sends session tickets without end: `python -m tests.support.tls_flood CERTIFICATE_FILE KEY_LOG`.

It prints its port, serves one connection, and is a process of its own because it must be faster than its client.
"""

from __future__ import annotations

import hashlib
import hmac
import socket
import ssl
import struct
import sys
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

TICKET = struct.pack(">II", 7200, 0) + b"\x01\x00" + b"\x00\x01\x41" + b"\x00\x00"  # lifetime, age, nonce, ticket
MESSAGE = b"\x04" + len(TICKET).to_bytes(3, "big") + TICKET  # NewSessionTicket, RFC 8446 section 4.6.1
RECORD = MESSAGE * (16_000 // len(MESSAGE)) + b"\x16"  # a record of handshake messages
HEAD = b"\x17\x03\x03" + struct.pack(">H", len(RECORD) + 16)
HASH, KEY_BYTES = hashlib.sha384, 32  # of TLS_AES_256_GCM_SHA384


def expand(secret: bytes, label: bytes, length: int) -> bytes:
    """HKDF-Expand-Label of RFC 8446 for at most one block of the hash."""
    info = struct.pack(">H", length) + bytes([len(label) + 6]) + b"tls13 " + label + b"\0"
    return hmac.new(secret, info + b"\x01", HASH).digest()[:length]


def main(certificate: str, key_log: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    context.keylog_filename = key_log
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(listening.getsockname()[1], flush=True)  # noqa: T201
        accepted, _ = listening.accept()
    secured = context.wrap_socket(accepted, server_side=True)
    lines = Path(key_log).read_text().splitlines()
    [secret] = [bytes.fromhex(line.split()[2]) for line in lines if line.startswith("SERVER_TRAFFIC_SECRET_0 ")]
    cipher, first = AESGCM(expand(secret, b"key", KEY_BYTES)), int.from_bytes(expand(secret, b"iv", 12), "big")
    number = 0
    with socket.socket(fileno=secured.detach()) as raw:
        while True:
            raw.sendall(HEAD + cipher.encrypt((first ^ number).to_bytes(12, "big"), RECORD, HEAD))
            number += 1


if __name__ == "__main__":
    main(*sys.argv[1:])
