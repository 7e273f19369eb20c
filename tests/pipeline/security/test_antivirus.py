"""Antivirus scans: a file continues only after a complete scan without a finding."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import AwayError, Code, PermanentError, PipelineError, RetryableError, StagingLostError
from pipeline.metrics import COUNTER_BUFFER
from pipeline.security.antivirus import MAX_OUTAGE_S, OUTAGE_STALE_S, Antivirus
from pipeline.security.clamd import Clamd
from tests.support.clamd import FakeClamd, fake_clamd

CONTENT = bytes(range(256)) * 3000  # three chunks


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clamd() -> Iterator[FakeClamd]:
    with fake_clamd() as server:
        yield server


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / ("a" * 32)
    path.write_bytes(CONTENT)
    return path


@pytest.fixture(autouse=True)
def _empty_counters() -> Iterator[None]:
    COUNTER_BUFFER.drain()
    yield
    COUNTER_BUFFER.drain()


def scan(clamd: FakeClamd, file: Path, *, size: int = len(CONTENT), timeout_s: float = 30) -> None:
    Antivirus(Clamd(clamd.address), timeout_s=timeout_s).check(file, size=size)


def refused(clamd: FakeClamd, file: Path, *, size: int = len(CONTENT), timeout_s: float = 30) -> PipelineError:
    with pytest.raises(PipelineError) as caught:
        scan(clamd, file, size=size, timeout_s=timeout_s)
    return caught.value


def scans() -> dict[str, float]:
    """The number of scans by outcome, counted since the previous call."""
    name = "esteira_antivirus_scans_total|"
    return {key.removeprefix(name): n for key, n in COUNTER_BUFFER.drain().items() if key.startswith(name)}


def test_clean_file_passes_and_is_sent_completely(clamd: FakeClamd, file: Path) -> None:
    scan(clamd, file)
    assert b"".join(clamd.received) == CONTENT
    assert scans() == {"clean": 1}


def test_file_is_sent_in_chunks(clamd: FakeClamd, file: Path) -> None:
    scan(clamd, file)
    assert len(clamd.received) == 3
    assert max(map(len, clamd.received)) <= 256 * 1024


def test_infected_file_is_a_permanent_error_with_the_signature_name(clamd: FakeClamd, file: Path) -> None:
    clamd.verdict = b"stream: Win.Test.EICAR_HDB-1 FOUND\0"
    error = refused(clamd, file)
    assert isinstance(error, PermanentError)
    assert (error.code, error.message) == (Code.MALWARE, "clamd found Win.Test.EICAR_HDB-1")
    assert scans() == {"infected": 1}


@pytest.mark.parametrize(
    ("verdict", "message"),
    [
        (b"INSTREAM size limit exceeded. ERROR\0", "StreamMaxLength"),
        (b"stream: Heuristics.Limits.Exceeded.MaxFileSize FOUND\0", "only a part of this file"),
        (b"stream: Can't allocate memory ERROR\0", "clamd cannot scan this file: Can't allocate memory ERROR"),
        (b"stream: \x1b[31mred\r\n ERROR\0", "clamd cannot scan this file: [31mred ERROR"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not answer like clamd"),
        (b"UNKNOWN COMMAND\0", "does not answer like clamd"),
        (b"stream: OK not\0", "does not answer like clamd"),
        (b"OK\0", "does not answer like clamd"),
        (b"\0", "does not answer like clamd"),
        (b"\xff" * 5000, "does not answer like clamd"),
        (b"", "closed the connection without a reply"),
    ],
)
def test_incomplete_scan_is_retryable(clamd: FakeClamd, file: Path, verdict: bytes, message: str) -> None:
    clamd.verdict = verdict
    error = refused(clamd, file)
    assert type(error) is RetryableError
    assert error.code is Code.ANTIVIRUS
    assert message in error.message
    assert scans() == {"error": 1}


@pytest.mark.parametrize("reads", [0, 1])
def test_connection_closed_during_a_scan_counts_as_an_attempt(clamd: FakeClamd, file: Path, reads: int) -> None:
    clamd.reads, clamd.verdict = reads, b""
    error = refused(clamd, file)
    assert type(error) is RetryableError
    assert "closed the connection" in error.message


def test_reason_for_closing_during_a_scan_is_reported(clamd: FakeClamd, file: Path) -> None:
    clamd.reads, clamd.verdict = 1, b"INSTREAM size limit exceeded. ERROR\0"
    assert "StreamMaxLength" in refused(clamd, file).message


def test_scan_timeout_counts_as_an_attempt(clamd: FakeClamd, file: Path) -> None:
    clamd.verdict = None
    error = refused(clamd, file, timeout_s=0.3)
    assert type(error) is RetryableError
    assert "did not scan this file" in error.message


def test_unresponsive_clamd_counts_as_unavailable(
    clamd: FakeClamd, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.security.clamd.COMMAND_TIMEOUT_S", 0.3)
    clamd.verdict, clamd.pongs = None, False
    assert isinstance(refused(clamd, file, timeout_s=0.3), AwayError)
    assert scans() == {"away": 1}


def test_missing_or_changed_staged_file_is_fetched_again(clamd: FakeClamd, file: Path) -> None:
    for size in (len(CONTENT) - 1, len(CONTENT) + 1):
        assert isinstance(refused(clamd, file, size=size), StagingLostError)
    file.unlink()
    assert isinstance(refused(clamd, file), StagingLostError)


def test_outage_of_clamd_lengthens_the_wait_and_finally_counts_as_an_attempt(
    tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    antivirus = Antivirus(Clamd(f"unix://{tmp_path}/missing.ctl"), timeout_s=5, clock=clock)
    began = clock.now
    results = []
    for after_s in (0, 1, 12, 200, MAX_OUTAGE_S - 1, MAX_OUTAGE_S + 1):
        while clock.now < began + after_s:  # other attachments try a scan meanwhile
            with pytest.raises(RetryableError):
                antivirus.check(file, size=len(CONTENT))
            clock.now = min(began + after_s, clock.now + OUTAGE_STALE_S / 2)
        with pytest.raises(RetryableError) as caught:
            antivirus.check(file, size=len(CONTENT))
        results.append((isinstance(caught.value, AwayError), caught.value.retry_after))
    assert results == [(True, 0), (True, 1), (True, 12), (True, 30), (True, 30), (False, None)]
    assert "No such file" in caught.value.message
    assert str(tmp_path) not in caught.value.message


def test_new_outage_of_clamd_restarts_the_wait(tmp_path: Path, file: Path, clamd: FakeClamd) -> None:
    clock = Clock()
    antivirus = Antivirus(Clamd(clamd.address), timeout_s=5, clock=clock)
    unavailable, available = Clamd(f"unix://{tmp_path}/missing.ctl"), Clamd(clamd.address)

    def retry_after_s(passed_s: float) -> float | None:
        clock.now += passed_s
        with pytest.raises(AwayError) as caught:
            antivirus.check(file, size=len(CONTENT))
        return caught.value.retry_after

    antivirus._clamd = unavailable
    assert [retry_after_s(0), retry_after_s(20)] == [0, 20]
    antivirus._clamd = available
    antivirus.check(file, size=len(CONTENT))
    antivirus._clamd = unavailable
    assert retry_after_s(5) == 0
    assert retry_after_s(MAX_OUTAGE_S) == 0  # no scan was tried in between, so this counts as a new outage
