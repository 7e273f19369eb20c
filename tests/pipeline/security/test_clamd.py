"""The clamd client: addresses, version, scan timeout and availability."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from pipeline.config.parsers import parse_clamd_address
from pipeline.security.clamd import Clamd, ClamdUnavailableError
from tests.support.clamd import FakeClamd, fake_clamd


@pytest.fixture
def clamd() -> Iterator[FakeClamd]:
    with fake_clamd() as server:
        yield server


@pytest.mark.parametrize(
    ("address", "parsed"),
    [
        ("unix:///run/clamav/clamd.ctl", "/run/clamav/clamd.ctl"),
        ("tcp://127.0.0.1:3310", ("127.0.0.1", 3310)),
        ("tcp://clamd.internal", ("clamd.internal", 3310)),
        ("tcp://[::1]:3311", ("::1", 3311)),
        ("tcp://host:3310/", ("host", 3310)),
    ],
)
def test_clamd_address_is_a_socket_path_or_a_host_and_port(address: str, parsed: object) -> None:
    assert parse_clamd_address(address) == parsed


@pytest.mark.parametrize(
    "address",
    [
        *("", "/run/clamav/clamd.ctl", "unix://", "unix:///", "unix://run/clamd.ctl", "clamd:3310", "http://host:3310"),
        *("tcp://", "tcp://:3310", "tcp://host:0", "tcp://host:99999", "tcp://host:x", "tcp://user@host:3310"),
        *("tcp://host:3310/path", "tcp://host:3310?x=1", "tcp://[::1"),
    ],
)
def test_invalid_clamd_address_is_refused_with_an_example(address: str) -> None:
    with pytest.raises(ValueError, match="or tcp://host:3310"):
        parse_clamd_address(address)


def test_version_has_program_signatures_and_their_date(clamd: FakeClamd) -> None:
    clamd.version = b"ClamAV 1.4.6/27825/Sat Nov 21 09:26:01 2026\0"
    program, signatures, published = Clamd(clamd.address).version()
    assert (program, signatures) == ("ClamAV 1.4.6", 27825)
    assert published
    assert published.isoformat().startswith("2026-11-21T09:26:01")
    clamd.version = b"ClamAV 1.4.6\0"
    assert Clamd(clamd.address).version() == ("ClamAV 1.4.6", None, None)


@pytest.mark.parametrize("reply", [b"220 mail.example ESMTP\0", b"ClamAV 1/2/yesterday\0"])
def test_version_of_another_server_is_refused(clamd: FakeClamd, reply: bytes) -> None:
    clamd.version = reply
    with pytest.raises(ValueError):  # noqa: PT011  (any ValueError is right)
        Clamd(clamd.address).version()


def test_scan_times_out_if_clamd_reads_slowly(clamd: FakeClamd) -> None:
    clamd.reads, clamd.verdict = 1, None
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        Clamd(clamd.address).scan(iter([bytes(1_000_000)] * 50), timeout_s=0.5)
    assert time.monotonic() - began < 20


def test_ping_without_a_server_raises_clamd_unavailable(clamd: FakeClamd) -> None:
    with pytest.raises(ClamdUnavailableError):
        Clamd(clamd.address + "x").ping()
