"""A large file through fetch."""

from __future__ import annotations

import hashlib
import hmac
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

import rich_click as click
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from pipeline.config.settings import Settings
from pipeline.models import Attachment
from pipeline.services import Services
from pipeline.steps.fetch import fetch as fetch_step
from scripts.benchmarks.environment import show, site
from scripts.benchmarks.media_server import media_server
from tests.support.whatsapp_media import encrypt

PIECE = 256 * 1024
MB = 1_000_000


@click.command()
@click.option("--megabytes", default=1000, show_default=True, help="Size of the file.")
def fetch(megabytes: int) -> None:
    """A large file through fetch, plain and with a media key."""
    block = os.urandom(MB)
    with site() as (settings, services):
        folder = settings.var_dir / "served"
        folder.mkdir()
        with (folder / "plain").open("wb") as out:
            for number in range(megabytes):
                out.write(number.to_bytes(8, "big") + block[8:])
        media = encrypt((folder / "plain").read_bytes(), kind="document")
        (folder / "cipher").write_bytes(media.data)
        fields = {"plain": {}, "cipher": {"media_key": media.media_key, "file_sha256": media.file_sha256}}
        del media
        bound = {"plain": bound_s(block, encrypted=False), "cipher": bound_s(block, encrypted=True)}
        rows = []
        with media_server(folder) as server:
            for name, given in fields.items():
                attachment = Attachment(
                    session="b", message_id=name, url=f"{server.url}/{name}", kind="document", **given
                )
                took, grown = in_child(lambda attachment=attachment: run_fetch(attachment, settings, services))
                speed, best = megabytes / took, 1 / (bound[name] + copy_s(folder / name, settings.staging, megabytes))
                rows.append((name, f"{speed:.0f}", f"{best:.0f}", f"{speed / best:.2f}", f"{grown:.0f}"))
    show(f"{megabytes} MB through fetch", rows, "file", "MB/s", "bound MB/s", "ratio", "memory grows by MB")


def run_fetch(attachment: Attachment, settings: Settings, services: Services) -> None:
    fetch_step(
        attachment,
        intake=False,
        staging=services.staging,
        http_client=services.http_client,
        storage=services.storage,
        settings=settings,
    )


def in_child(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds that this took in a forked process, and by how many MB its memory grew at the most."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.perf_counter()
        work()
        took = time.perf_counter() - started
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        os.write(writing, f"{took} {grown / 1000}".encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        took, grown = map(float, answer.read().split())
    os.waitpid(child, 0)
    return took, grown


def bound_s(block: bytes, *, encrypted: bool) -> float:
    """Seconds that OpenSSL takes for the hashes, the MAC and the cipher of one MB, in pieces of 256 KiB."""
    decryptor = Cipher(algorithms.AES(bytes(32)), modes.CBC(bytes(16))).decryptor()
    mac = hmac.new(bytes(32), digestmod="sha256")
    out = bytearray(PIECE + 16)
    digests = [hashlib.sha256() for _ in range(2 if encrypted else 1)]
    piece = block[:PIECE]
    count = 400
    started = time.perf_counter()
    for _ in range(count):
        for digest in digests:
            digest.update(piece)
        if encrypted:
            mac.update(piece)
            decryptor.update_into(piece, out)
    return (time.perf_counter() - started) / count * MB / PIECE


def copy_s(source: Path, folder: Path, megabytes: int) -> float:
    """Seconds that a plain copy takes for one MB."""
    folder.mkdir(exist_ok=True)
    started = time.perf_counter()
    with source.open("rb", buffering=0) as given, (folder / "copy").open("wb", buffering=0) as out:
        while piece := given.read(PIECE):
            out.write(piece)
    took = time.perf_counter() - started
    (folder / "copy").unlink()
    return took / megabytes
