"""The doctor's checks of clamd, for answers that a real clamd cannot be made to give."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from actors.doctor import antivirus
from actors.doctor.finding import Level
from pipeline.config.settings import Settings, load_settings
from pipeline.security.clamd import Clamd
from tests.support.clamd import FakeClamd, fake_clamd

BUILT = b"ClamAV 1.4.6/27825/Sat Nov 21 09:26:01 2026\0"


@pytest.fixture
def clamd() -> Iterator[FakeClamd]:
    with fake_clamd() as server:
        server.version = BUILT
        yield server


def settings(address: str | None) -> Settings:
    return load_settings(_env_file=None, **({"clamd_address": address} if address else {}))


def version_level(clamd: FakeClamd, *, day: int) -> Level:
    return antivirus.check_version(Clamd(clamd.address), now=lambda: datetime(2026, 11, day, 12, tzinfo=UTC)).level


def test_signatures_older_than_a_week_warn(clamd: FakeClamd) -> None:
    assert (version_level(clamd, day=22), version_level(clamd, day=30)) == (Level.OK, Level.WARN)


def test_clamd_that_does_not_detect_the_test_file_warns(clamd: FakeClamd) -> None:
    assert antivirus.check_detection(Clamd(clamd.address)).level is Level.WARN
    clamd.verdict = b"stream: Win.Test.EICAR_HDB-1 FOUND\0"
    assert antivirus.check_detection(Clamd(clamd.address)).level is Level.OK


def test_another_server_at_the_address_fails(clamd: FakeClamd) -> None:
    clamd.version = b"220 mail.example ESMTP\0"
    [finding] = antivirus.run_checks(settings(clamd.address))
    assert (finding.level, "is not clamd" in finding.message) == (Level.FAIL, True)


def test_clamd_that_hangs_fails(clamd: FakeClamd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.security.clamd.COMMAND_TIMEOUT_S", 0.2)
    clamd.version = b""
    [finding] = antivirus.run_checks(settings(clamd.address))
    assert (finding.level, finding.check) == (Level.FAIL, "antivirus")


def test_clamd_is_optional(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CLAMD_ADDRESS", raising=False)
    [finding] = antivirus.run_checks(settings(None))
    assert finding.level is Level.OK
