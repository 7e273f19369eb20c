"""What Esteira costs on this machine. Read the ratios within one run; single figures of two runs are not comparable.

scripts/bench hook         how long process_media() holds its caller, beside one PING and one fsync
scripts/bench fetch        a large file through fetch, plain and encrypted, beside what hashing and copying allow
scripts/bench throughput   files a second through the five stages, from a full queue
scripts/bench fair         how long a quiet session's file takes beside the backlog of another, and alone
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import rich_click as click
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from actors.belt import QUICK_TIMEOUT_S, open_belt
from actors.hook import Hook
from actors.telemetry import configure
from cli.valkey import embedded_valkey
from pipeline.fetch import fetch as fetch_step
from pipeline.models import Attachment
from pipeline.services import Services, build_services
from pipeline.settings import Settings, load_settings
from tests.support.plant import photo
from tests.support.whatsapp_media import encrypt

PIECE = 256 * 1024
MB = 1_000_000
VARIETY = 200  # different files: more need not lie on the disk
console = Console()


@contextlib.contextmanager
def site(**given: Any) -> Iterator[tuple[Settings, Services]]:
    """Settings and services on a folder of their own, on disk, with the embedded Valkey running."""
    with tempfile.TemporaryDirectory(prefix="esteira-bench-", dir="/var/tmp") as folder:
        settings = load_settings(_env_file=None, var_dir=folder, fetch_allow_private="127.0.0.0/8", **given)
        services = build_services(settings, durable=True)
        services.catalogue.migrate()
        with embedded_valkey(settings):
            yield settings, services
        services.close()


@contextlib.contextmanager
def file_server(folder: Path, *, delay_s: float = 0) -> Iterator[str]:
    """These files over HTTP on loopback, each after a pause."""

    class Handler(SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def do_GET(self) -> None:
            time.sleep(delay_s)
            super().do_GET()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def micros(call: Callable[[], object], count: int) -> list[float]:
    """How long each of so many calls took, in µs, in order of length."""
    took = []
    for _ in range(count):
        started = time.perf_counter_ns()
        call()
        took.append((time.perf_counter_ns() - started) / 1000)
    return sorted(took)


def show(title: str, rows: list[tuple[str, ...]], *columns: str) -> None:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="left" if column == columns[0] else "right")
    for row in rows:
        table.add_row(*row)
    console.print(table)


@click.group(help=__doc__)
def main() -> None:
    """One command a measure."""
    os.environ["LOG_LEVEL"] = "error"
    configure(load_settings(_env_file=None))


@main.command()
@click.option("--count", default=2000, show_default=True, help="Calls to measure.")
def hook(count: int) -> None:
    """How long process_media() holds its caller."""
    with site() as (settings, services), file_server(settings.var_dir, delay_s=0.1) as url:
        (settings.var_dir / "a.jpg").write_bytes(photo())
        taker = Hook(services, open_belt(settings, timeout_s=QUICK_TIMEOUT_S))
        numbers = iter(range(10**9))

        def take() -> None:
            taker.take(Attachment(session="bench", message_id=str(next(numbers)), url=f"{url}/a.jpg", size=100_000))

        with (settings.var_dir / "synced").open("wb", buffering=0) as out:

            def sync() -> None:
                out.write(bytes(4096))
                os.fsync(out.fileno())

            figures = [("PING", micros(taker.belt.client.ping, count)), ("fsync", micros(sync, 300))]
        figures.append(("process_media(), queued", micros(take, count)))
        taker = Hook(services, open_belt(away(settings), timeout_s=QUICK_TIMEOUT_S))
        figures.append(("process_media(), no queue, server of 100 ms", micros(take, 20)))
    show(
        "How long the listener is held",
        [(name, f"{statistics.median(took):.0f}", f"{took[int(len(took) * 0.99)]:.0f}") for name, took in figures],
        *("call", "median µs", "p99 µs"),
    )


def away(settings: Settings) -> Settings:
    """The same settings with a Redis where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    return settings.model_copy(update={"redis_url": SecretStr(f"redis://127.0.0.1:{port}/0")})


@main.command()
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
        with outside_server(folder) as url:
            for name, given in fields.items():
                attachment = Attachment(session="b", message_id=name, url=f"{url}/{name}", kind="document", **given)
                took, grown = in_child(lambda attachment=attachment: run_fetch(attachment, settings, services))
                speed, best = megabytes / took, 1 / (bound[name] + copy_s(folder / name, settings.staging, megabytes))
                rows.append((name, f"{speed:.0f}", f"{best:.0f}", f"{speed / best:.2f}", f"{grown:.0f}"))
    show(f"{megabytes} MB through fetch", rows, "file", "MB/s", "bound MB/s", "ratio", "memory grows by MB")


def run_fetch(attachment: Attachment, settings: Settings, services: Services) -> None:
    fetch_step(
        attachment,
        intake=False,
        staging=services.staging,
        outbound=services.outbound,
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


@contextlib.contextmanager
def outside_server(folder: Path) -> Iterator[str]:
    """The files over HTTP from a process of its own, as a media server is one."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout
        port = process.stdout.readline().split("port ")[1].split()[0]
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@main.command()
@click.option("--count", default=1000, show_default=True, help="Photos to carry.")
@click.option("--processes", default=2, show_default=True)
@click.option("--threads", default=8, show_default=True)
def throughput(count: int, processes: int, threads: int) -> None:
    """Files a second through the five stages, from a full queue."""
    with site() as (settings, services):
        folder = settings.var_dir / "served"
        folder.mkdir()
        for number in range(count):
            (folder / f"{number}.jpg").write_bytes(photo(size=(320, 240)))
        taker = Hook(services, open_belt(settings, timeout_s=QUICK_TIMEOUT_S))
        with outside_server(folder) as url:
            for number in range(count):
                taker.take(Attachment(session="bench", message_id=str(number), url=f"{url}/{number}.jpg", kind="image"))
            took = carry(settings, services, count, [f"--processes={processes}", f"--threads={threads}"])
    show("From a full queue", [(f"{count} photos", f"{count / took:.0f}")], "load", "files/s")


def carry(settings: Settings, services: Services, count: int, options: list[str]) -> float:
    """Seconds between a tenth and all of the files, scaled to all."""
    with running_workers(settings, options):
        reached: list[tuple[float, int]] = []
        while not reached or reached[-1][1] < count:
            done = services.catalogue.totals()["done"]
            if done >= count // 10:
                reached.append((time.perf_counter(), done))
            time.sleep(0.02)
    (first_at, first), (last_at, last) = reached[0], reached[-1]
    return (last_at - first_at) * count / (last - first)


@contextlib.contextmanager
def running_workers(settings: Settings, options: list[str]) -> Iterator[None]:
    """Workers for the length of the block."""
    env = os.environ | {"VAR_DIR": str(settings.var_dir), "FETCH_ALLOW_PRIVATE": "127.0.0.0/8"}
    dramatiq = str(Path(sys.executable).parent / "dramatiq")
    workers = subprocess.Popen([dramatiq, "actors.stages", *options], env=env, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        workers.terminate()
        workers.wait(30)


@main.command()
@click.option("--backlog", default=10_000, show_default=True, help="Files of the busy session that wait.")
@click.option("--tries", default=10, show_default=True, help="Files of the quiet session, one after the other.")
@click.option(
    "--delay", "delays", type=float, multiple=True, default=(100, 0), help="What a server takes to answer, ms."
)
@click.option("--processes", default=2, show_default=True)
@click.option("--threads", default=8, show_default=True)
def fair(backlog: int, tries: int, delays: tuple[float, ...], processes: int, threads: int) -> None:
    """How long a quiet session's file takes from hand-over to done beside another's backlog, and alone."""
    options = [f"--processes={processes}", f"--threads={threads}"]
    rows = []
    for delay in delays:
        alone = quiet_files(0, tries, delay_s=delay / 1000, options=options)
        beside = quiet_files(backlog, tries, delay_s=delay / 1000, options=options)
        times = statistics.median(alone), statistics.median(beside)
        figures = (f"{times[0]:.0f}", f"{times[1]:.0f}", f"{max(beside)}", f"{times[1] / times[0]:.1f}")
        rows.append((f"server of {delay:.0f} ms", *figures))
    columns = ("a quiet session's file", "alone, ms", "beside, ms", "at most, ms", "ratio")
    show(f"Beside a backlog of {backlog} files, medians of {tries}", rows, *columns)


def quiet_files(backlog: int, tries: int, *, delay_s: float, options: list[str]) -> list[int]:
    """Milliseconds from hand-over to done of files that come one at a time while `backlog` others wait."""
    with site() as (settings, services):
        folder = settings.var_dir / "served"
        folder.mkdir()
        for number in range(VARIETY):
            (folder / f"{number}.jpg").write_bytes(photo(size=(320, 240)))
        taker = Hook(services, open_belt(settings, timeout_s=QUICK_TIMEOUT_S))
        with file_server(folder, delay_s=delay_s) as url:

            def take(session: str, number: int) -> str:
                place = f"{url}/{number % VARIETY}.jpg"
                given = {"session": session, "message_id": str(number), "url": place, "kind": "image"}
                return taker.take(Attachment.model_validate(given)).id

            for number in range(backlog):
                take("busy", number)
            with running_workers(settings, options):
                warm = [take("warm", number) for number in range(20)]
                took_ms(services, warm)
                took = []
                for number in range(tries):
                    time.sleep(0.3)
                    took += took_ms(services, [take("quiet", number)])
                return took


def took_ms(services: Services, ids: list[str]) -> list[int]:
    """How long each took until it was done, as the catalogue says it; waits for them."""
    took = []
    for media_id in ids:
        while not ((record := services.catalogue.get(media_id)) and record.finished_at):
            time.sleep(0.02)
        took.append(record.finished_at - record.received_at)
    return took


if __name__ == "__main__":
    main()
