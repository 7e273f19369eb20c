"""Group commit: concurrent items share transactions, and each thread gets its own result."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from pipeline.catalogue import Catalogue
from pipeline.catalogue.database import Database
from pipeline.catalogue.group_commit import MAX_BATCH, GroupCommit
from pipeline.catalogue.session import Session
from pipeline.errors import Code, PermanentError, PipelineError, RetryableError
from pipeline.models import Attachment


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/catalogue.db"


@contextmanager
def locked(url: str) -> Iterator[None]:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        yield


class Writer:
    """A GroupCommit that returns each item in upper case and records its batches."""

    def __init__(self, url: str, *, refused: str = "") -> None:
        self.batches: list[list[str]] = []
        self._refused = refused
        self.group_commit: GroupCommit[str, str] = GroupCommit(Database(url, durable=False), self._work)

    def _work(self, session: Session, items: Sequence[str]) -> Sequence[str]:
        if self._refused in items:
            raise PermanentError(Code.CATALOGUE, f"{self._refused} cannot be held")
        self.batches.append(list(items))
        return [item.upper() for item in items]

    def run(self, item: str, *, wait_s: float = 5) -> str | PipelineError:
        try:
            return self.group_commit.run(item, wait_s=wait_s)
        except PipelineError as error:
            return error


def words(count: int) -> list[str]:
    return [f"word {number}" for number in range(count)]


def test_single_write_does_not_wait(url: str) -> None:
    writer = Writer(url)
    assert [writer.run(word) for word in "ab"] == ["A", "B"]
    assert writer.batches == [["a"], ["b"]]


def test_items_that_arrive_during_a_lock_share_one_transaction(url: str) -> None:
    writer = Writer(url)
    given = words(50)
    with ThreadPoolExecutor(len(given)) as pool:
        with locked(url):
            answers = [pool.submit(writer.run, word) for word in given]
            time.sleep(0.5)
            assert writer.batches == []
        assert [answer.result() for answer in answers] == [word.upper() for word in given]
    assert sorted(word for batch in writer.batches for word in batch) == sorted(given)
    assert len(writer.batches) <= 2


def test_batch_size_is_limited(url: str) -> None:
    writer = Writer(url)
    given = words(MAX_BATCH + 50)
    with ThreadPoolExecutor(len(given)) as pool:
        with locked(url):
            answers = [pool.submit(writer.run, word) for word in given]
            time.sleep(1)
        assert Counter(answer.result() for answer in answers) == Counter(word.upper() for word in given)
    assert max(map(len, writer.batches)) == MAX_BATCH


def test_refused_item_fails_alone(url: str) -> None:
    writer = Writer(url, refused="word 7")
    given = words(20)
    with ThreadPoolExecutor(len(given)) as pool:
        with locked(url):
            answers = dict(zip(given, [pool.submit(writer.run, word) for word in given], strict=True))
            time.sleep(0.5)
        found = {word: answer.result() for word, answer in answers.items()}
    assert isinstance(found.pop("word 7"), PermanentError)
    assert found == {word: word.upper() for word in found}
    assert writer.run("after") == "AFTER"


def test_each_waiter_times_out_by_its_own_limit(url: str) -> None:
    writer = Writer(url)
    waits = [0.9, 0.3, 0.6, 0.3]

    def refused(wait_s: float) -> float:
        began = time.monotonic()
        assert isinstance(writer.run("x", wait_s=wait_s), RetryableError)
        return time.monotonic() - began

    assert writer.run("before") == "BEFORE"
    with locked(url), ThreadPoolExecutor(len(waits)) as pool:
        took = list(pool.map(refused, waits))
    for wait_s, seconds in zip(waits, took, strict=True):
        assert wait_s - 0.05 < seconds < wait_s + 0.4
    assert writer.run("after") == "AFTER"
    assert writer.batches == [["before"], ["after"]], "who was refused is not written afterwards"


def test_exception_in_the_work_releases_all_waiters(url: str) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def work(_: Session, items: Sequence[str]) -> Sequence[str]:
        entered.set()
        go_on.wait(5)
        if "bad" in items:
            raise ZeroDivisionError
        return list(items)

    group_commit: GroupCommit[str, str] = GroupCommit(Database(url, durable=False), work)
    with ThreadPoolExecutor(2) as pool:
        bad = pool.submit(group_commit.run, "bad", wait_s=5)
        assert entered.wait(5)
        good = pool.submit(group_commit.run, "good", wait_s=5)
        go_on.set()
        assert isinstance(bad.exception(5), ZeroDivisionError)
        assert good.result(5) == "good"


HOLDER = """
import sqlite3, sys
holder = sqlite3.connect(sys.argv[1], isolation_level=None)
holder.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked_by_another_process(url: str) -> Iterator[None]:
    """As `locked`, but by another process, because a fork inherits the locks of its own process."""
    command = [sys.executable, "-c", HOLDER, url.removeprefix("sqlite:///")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"locked\n"
        yield
        holder.kill()


def test_fork_during_a_write_blocks_neither_process(url: str) -> None:
    writer = Writer(url)
    assert writer.run("before") == "BEFORE"
    with ThreadPoolExecutor(4) as pool:
        with locked_by_another_process(url):
            answers = [pool.submit(writer.run, word) for word in words(4)]
            time.sleep(0.2)
            child = os.fork()
            if child == 0:
                time.sleep(0.5)  # until the lock is released
                os._exit(42 if writer.run("child") == "CHILD" else 1)
        assert {answer.result() for answer in answers} == {word.upper() for word in words(4)}
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 42


def test_concurrent_repeats_are_fresh_once(url: str) -> None:
    catalogue = Catalogue(url, durable=True)
    catalogue.migrate()
    given = [
        Attachment(session="s", message_id=str(number % 10), url="https://media.example/a") for number in range(100)
    ]
    with ThreadPoolExecutor(32) as pool:
        accepted = list(pool.map(catalogue.accept, given))
    assert [one.id for one in accepted] == [one.id for one in given]
    assert sum(one.fresh for one in accepted) == 10
    totals = catalogue.totals()
    assert (totals["received"], totals["duplicates"]) == (10, 90)
