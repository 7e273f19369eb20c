"""The promises of the listener hook that no other test covers, on a real Valkey."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from actors.hook import Receipt
from pipeline.models import Status
from tests.support.media_server import MediaServer
from tests.support.system import ROOT, RunningSystem, photo
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_until

# A listener that dies in the moment in which it has its answer.
DIES = (
    "import os, sys; from actors.hook import process_media; from pipeline.models import Attachment\n"
    "receipt = process_media(Attachment(session='s', message_id='m', url=sys.argv[1]))\n"
    "os.write(1, receipt.id.encode()); os.kill(os.getpid(), 9)"
)

SYNCED = (
    "import os; from actors.hook import process_media; from pipeline.models import Attachment\n"
    "for name in ('FIRST', 'SECOND', 'LAST'):\n"
    "    os.write(1, name.encode())\n"
    "    process_media(Attachment(session='s', message_id=name, url='http://127.0.0.1:9/never'))\n"
)


@contextmanager
def own(folder: Path, server: ValkeyServer, **settings: str) -> Iterator[RunningSystem]:
    with closing(RunningSystem(folder, server.url, settings)) as system:
        yield system


@pytest.fixture
def media() -> Iterator[MediaServer]:
    with MediaServer({"a.jpg": photo()}) as server:
        yield server


def timed(take: Callable[[], Receipt]) -> tuple[Receipt, float]:
    began = time.monotonic()
    return take(), time.monotonic() - began


@pytest.mark.parametrize("sync", ["true", "false"])
def test_accepted_attachment_survives_a_killed_listener(
    make_system: Callable[..., RunningSystem], media: MediaServer, sync: str
) -> None:
    system = make_system(intake_sync=sync)
    died = subprocess.run(
        [sys.executable, "-c", DIES, media.url("a.jpg")],
        cwd=ROOT,
        env=system.env,
        stdout=subprocess.PIPE,
        timeout=30,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL
    media_id = died.stdout.decode().splitlines()[-1][-32:]
    assert system.record(media_id).status is Status.RECEIVED
    with system.workers():
        [record] = system.wait_finished(media_id)
    assert record.status is Status.DONE


@pytest.mark.parametrize(("sync", "syncs"), [("true", True), ("false", False)])
def test_row_is_synced_before_the_receipt_if_configured(
    make_system: Callable[..., RunningSystem], sync: str, syncs: bool
) -> None:
    strace = shutil.which("strace")
    if not strace:
        pytest.skip("strace shows what is synced, and is not here")
    system = make_system(intake_sync=sync)
    calls = system.folder / "calls"
    watching = [strace, "-f", "-qq", "-y", "-e", "trace=fdatasync,fsync,write", "-o", str(calls)]
    subprocess.run(
        [*watching, sys.executable, "-c", SYNCED],
        cwd=ROOT,
        env=system.env,
        stdout=subprocess.DEVNULL,
        timeout=60,
        check=True,
    )
    assert system.services.catalogue.totals()["received"] == 3
    # The first one may make the log, which is synced in any case.
    second = re.search(r'"SECOND"(.*)"LAST"', calls.read_text(), re.DOTALL)
    assert second
    assert bool(re.search(r"sync\(\d+<[^>]*esteira\.db-wal>", second[1])) is syncs


def test_duplicate_has_the_status_of_the_first(system: RunningSystem, media: MediaServer) -> None:
    attachment = system.attachment(url=media.url("a.jpg"))
    system.hook.accept(attachment)
    repeat = system.hook.accept(attachment)
    assert (repeat.mode, repeat.status) == ("duplicate", Status.RECEIVED)
    with system.workers():
        system.wait_finished(repeat.id)
    assert (system.hook.accept(attachment).mode, system.hook.accept(attachment).status) == ("duplicate", Status.DONE)
    assert media.hits("a.jpg") == 1


def test_process_media_makes_one_round_trip_to_redis(own_valkey: ValkeyServer, tmp_path: Path) -> None:
    with own(tmp_path, own_valkey) as system, closing(own_valkey.client()) as observer:

        def requests() -> int:
            """How often the server has read from a connection so far, this question included."""
            return int(observer.info("stats")["total_reads_processed"])

        system.submit(url="https://media.example/first")  # connects, and loads the script
        requests()
        before = requests()
        receipts = [system.submit(url=f"https://media.example/{number}") for number in range(20)]
        assert requests() - before == 20 + 1
    assert {receipt.mode for receipt in receipts} == {"queued"}


def test_only_one_call_waits_for_a_silent_valkey(own_valkey: ValkeyServer, tmp_path: Path) -> None:
    with own(tmp_path, own_valkey, FALLBACK="spool") as system:
        system.submit(url="https://media.example/first")
        own_valkey.pause()
        receipt, waited = timed(lambda: system.submit(url="https://media.example/second"))
        later = [timed(lambda: system.submit(url="https://media.example/later")) for _ in range(40)]
        own_valkey.resume()
        wait_until(lambda: not system.hook.breaker.is_open, 5)
        assert system.submit(url="https://media.example/last").mode == "queued"
    assert receipt.mode == "spooled"
    assert 0.2 < waited < 0.7
    assert {one.mode for one, _ in later} == {"spooled"}
    assert sorted(seconds for _, seconds in later)[35] < 0.15


def test_fallbacks_beyond_the_limit_are_spooled(own_valkey: ValkeyServer, tmp_path: Path, media: MediaServer) -> None:
    media.files |= {f"{number}.jpg": photo() for number in range(7)}
    with own(tmp_path, own_valkey, FALLBACK_CONCURRENCY="2", SWEEP_AFTER_S="1") as system:
        own_valkey.stop()
        system.submit(url=media.url("a.jpg"))  # finds out that the queue is away, and warms the decoders
        media.delay_s = 1.5
        urls = [media.url(f"{number}.jpg") for number in range(7)]
        with ThreadPoolExecutor(7) as pool:
            receipts = list(pool.map(lambda url: system.submit(url=url), urls))
        media.delay_s = 0
        assert Counter(receipt.mode for receipt in receipts) == {"inline": 2, "spooled": 5}
        own_valkey.start()
        with system.workers():
            records = system.wait_finished(*(receipt.id for receipt in receipts))
        assert {record.status for record in records} == {Status.DONE}
        assert [media.hits(f"{number}.jpg") for number in range(7)] == [1] * 7


def test_enqueue_without_an_answer_does_not_run_twice(
    own_valkey: ValkeyServer, tmp_path: Path, media: MediaServer
) -> None:
    """The answer to the enqueue comes too late; the hook and a worker have the same attachment then."""
    media.files["first.jpg"] = photo()
    with own(tmp_path, own_valkey) as system, system.workers() as workers, ThreadPoolExecutor(1) as pool:
        first = system.submit(url=media.url("first.jpg"))  # connects, so that the next is sent before it is given up
        system.wait_finished(first.id)
        media.delay_s = 3
        own_valkey.pause()
        taking = pool.submit(system.submit, url=media.url("a.jpg"))
        wait_until(lambda: media.hits("a.jpg"), 10)  # the hook has given Redis up and asks the source itself
        own_valkey.resume()
        wait_until(
            lambda: system.queue.stats.counts()["fetch"]["running"] + system.queue.stats.counts()["fetch"]["delayed"], 5
        )
        receipt = taking.result(20)
        wait_until(lambda: system.queue.find_missing([receipt.id]), 15)
        assert {line["id"] for line in workers.logged("attachment stored")} == {first.id}
        assert {line["id"] for line in workers.logged("media.done")} == {first.id}
        totals = system.services.catalogue.totals()
    assert (receipt.mode, receipt.status) == ("inline", Status.DONE)
    assert media.hits("a.jpg") == 1
    assert (totals["received"], totals["stored"], totals["done"]) == (2, 2, 2)


def test_attachment_is_accepted_while_redis_is_away(own_valkey: ValkeyServer, tmp_path: Path) -> None:
    """Nor is a source that cannot be reached at the same time: the row is written."""
    with own(tmp_path, own_valkey) as system:
        own_valkey.stop()
        receipts = [system.submit(url="http://127.0.0.1:9/never") for _ in range(3)]
        assert {(receipt.mode, receipt.status) for receipt in receipts} == {("spooled", Status.RECEIVED)}
        assert {system.record(receipt.id).error_code for receipt in receipts} == {"fetch_refused"}
