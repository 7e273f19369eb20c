"""Measures the stage fetch with a large file."""

from __future__ import annotations

import hashlib
import hmac
import os
import resource
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import rich_click as click
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from pipeline.config.settings import Settings
from pipeline.models import Attachment
from pipeline.services import Services
from pipeline.steps.fetch import fetch as fetch_step
from scripts.benchmarks.environment import isolated_services, show
from scripts.benchmarks.media_server import media_server
from tests.support.whatsapp_media import encrypt

CHUNK_BYTES = 256 * 1024
MB = 1_000_000


@click.command()
@click.option("--megabytes", default=1000, show_default=True, help="Size of the file.")
def fetch(megabytes: int) -> None:
    """Speed and memory of the stage fetch with a large file, plain and encrypted."""
    block = os.urandom(MB)
    with isolated_services() as (settings, services):
        folder = settings.var_dir / "served"
        folder.mkdir()
        with (folder / "plain").open("wb") as out:
            for number in range(megabytes):
                out.write(number.to_bytes(8, "big") + block[8:])
        media = encrypt((folder / "plain").read_bytes(), kind="document")
        (folder / "cipher").write_bytes(media.data)
        fields_by_name = {"plain": {}, "cipher": {"media_key": media.media_key, "file_sha256": media.file_sha256}}
        del media
        crypto = {"plain": crypto_s(block, encrypted=False), "cipher": crypto_s(block, encrypted=True)}
        rows = []
        with media_server(folder) as server:
            for name, fields in fields_by_name.items():
                attachment = Attachment(
                    session="b", message_id=name, url=f"{server.url}/{name}", kind="document", **fields
                )
                took, growth_mb = measure_in_child(partial(run_fetch, attachment, settings, services))
                speed, bound = megabytes / took, 1 / (crypto[name] + copy_s(folder / name, settings.staging, megabytes))
                rows.append((name, f"{speed:.0f}", f"{bound:.0f}", f"{speed / bound:.2f}", f"{growth_mb:.0f}"))
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


def measure_in_child(work: Callable[[], object]) -> tuple[float, float]:
    """Runs `work` in a forked process. Returns its seconds, and the growth of its peak memory in MB."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.perf_counter()
        work()
        took = time.perf_counter() - started
        growth_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        os.write(writing, f"{took} {growth_kib / 1000}".encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        took, growth_mb = map(float, answer.read().split())
    os.waitpid(child, 0)
    return took, growth_mb


def crypto_s(block: bytes, *, encrypted: bool) -> float:
    """Seconds that OpenSSL takes for the hashes, the MAC and the cipher of one MB, in chunks of 256 KiB."""
    decryptor = Cipher(algorithms.AES(bytes(32)), modes.CBC(bytes(16))).decryptor()
    mac = hmac.new(bytes(32), digestmod="sha256")
    out = bytearray(CHUNK_BYTES + 16)
    digests = [hashlib.sha256() for _ in range(2 if encrypted else 1)]
    chunk = block[:CHUNK_BYTES]
    count = 400
    started = time.perf_counter()
    for _ in range(count):
        for digest in digests:
            digest.update(chunk)
        if encrypted:
            mac.update(chunk)
            decryptor.update_into(chunk, out)
    return (time.perf_counter() - started) / count * MB / CHUNK_BYTES


def copy_s(source: Path, folder: Path, megabytes: int) -> float:
    """Seconds that a plain copy takes per MB."""
    folder.mkdir(exist_ok=True)
    started = time.perf_counter()
    with source.open("rb", buffering=0) as original, (folder / "copy").open("wb", buffering=0) as out:
        while chunk := original.read(CHUNK_BYTES):
            out.write(chunk)
    took = time.perf_counter() - started
    (folder / "copy").unlink()
    return took / megabytes
