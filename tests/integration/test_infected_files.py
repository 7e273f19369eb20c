"""Scans by a real clamd before persist: infected files are rejected, and nothing is stored while clamd is down."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable, Iterator

import docx
import pytest

from actors.doctor import antivirus
from actors.doctor.finding import Finding, Level
from actors.maintenance.tasks import remove_leftover_intake
from pipeline.config.settings import load_settings
from pipeline.errors import Code
from pipeline.models import Stage, Status
from pipeline.security.clamd import Clamd
from pipeline.storage import intake_key
from tests.conftest import missing
from tests.support.clamd import EICAR, SIGNATURE, RealClamd, find_clamd, real_clamd
from tests.support.media_server import MediaServer
from tests.support.system import RunningSystem, photo
from tests.support.waiting import wait_until

NAME = f"{SIGNATURE}.UNOFFICIAL"
STREAM_MB = 2


@pytest.fixture
def stopped_clamd() -> Iterator[RealClamd]:
    program = find_clamd()
    if program is None:
        missing("clamd (Debian: clamav-daemon)")
    with real_clamd(str(program), f"StreamMaxLength {STREAM_MB}M") as server:
        yield server


@pytest.fixture
def clamd(stopped_clamd: RealClamd) -> RealClamd:
    stopped_clamd.start()
    return stopped_clamd


@pytest.fixture
def limited_clamd() -> Iterator[RealClamd]:
    """A clamd that scans at most 1 MB of a file and reports larger ones."""
    program = find_clamd()
    if program is None:
        missing("clamd (Debian: clamav-daemon)")
    with real_clamd(str(program), "MaxFileSize 1M", "AlertExceedsMax yes") as server:
        server.start()
        yield server


def docx_with(text: str) -> bytes:
    """A DOCX, which compresses its text."""
    document = docx.Document()
    document.add_paragraph(text)
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def kept_files(system: RunningSystem) -> list[str]:
    """The names of the files in storage and staging."""
    return [path.name for path in system.stored_files()] + system.staged_files()


@pytest.mark.parametrize("transport", ["unix", "tcp"])
def test_infected_file_is_rejected_announced_and_deleted(
    make_system: Callable[..., RunningSystem], clamd: RealClamd, transport: str
) -> None:
    system = make_system(clamd_address=getattr(clamd, transport), allowed_types="text", media_backoff_ms="50")
    files = {"bad.docx": docx_with(EICAR.decode()), "bad.txt": b"Look:\n" + EICAR, "good.docx": docx_with("Dear all")}
    with MediaServer(files) as server, system.workers():
        ids = [system.submit(url=server.url(name), filename=name).id for name in files]
        ids.append(system.submit(data=base64.b64encode(files["bad.docx"]).decode(), filename="inline.docx").id)
        docx_record, text_record, good, inline = system.wait_finished(*ids)
    for record in (docx_record, text_record, inline):
        assert (record.status, record.stage, record.error_code) == (Status.REJECTED, Stage.PERSIST, Code.MALWARE)
        assert (record.error, record.storage_key) == (f"clamd found {NAME}", None)
        assert record.announced_at
    assert good.status is Status.DONE
    assert good.storage_key
    assert kept_files(system) == [good.storage_key.rpartition("/")[2]]
    assert system.services.storage.size(intake_key(inline.id)) is None


def test_leftover_inline_bytes_of_an_infected_file_are_removed(
    make_system: Callable[..., RunningSystem], clamd: RealClamd
) -> None:
    system = make_system(clamd_address=clamd.unix)
    infected = base64.b64encode(docx_with(EICAR.decode())).decode()
    with system.workers():
        [record] = system.wait_finished(system.submit(data=infected, filename="bad.docx").id)
    system.services.storage.put_chunks([b"storage was unavailable when the job finished"], intake_key(record.id))
    time.sleep(1.1)
    assert remove_leftover_intake(system.services, older_than_s=0) == 1
    assert kept_files(system) == []


def test_attachments_wait_without_attempts_while_clamd_is_unavailable(
    make_system: Callable[..., RunningSystem], stopped_clamd: RealClamd
) -> None:
    system = make_system(clamd_address=stopped_clamd.unix, media_attempts="1", media_backoff_ms="50")
    with MediaServer({"a.jpg": photo(), "b.docx": docx_with(EICAR.decode())}) as server, system.workers():
        ids = [system.submit(url=server.url(name), filename=name).id for name in ("a.jpg", "b.docx")]
        wait_until(lambda: all(system.record(media_id).error_code for media_id in ids), 30)
        time.sleep(1)
        waiting = [system.record(media_id) for media_id in ids]
        assert kept_files(system) == sorted(ids)  # staged, but not in storage
        stopped_clamd.start()
        clean, bad = system.wait_finished(*ids, within_s=60)
        assert [server.hits(name) for name in ("a.jpg", "b.docx")] == [1, 1]
    assert [(record.status, record.stage, record.error_code) for record in waiting] == [
        (Status.RECEIVED, Stage.PERSIST, Code.ANTIVIRUS)
    ] * 2
    assert (clean.status, clean.error_code) == (Status.DONE, None)
    assert (bad.status, bad.error_code) == (Status.REJECTED, Code.MALWARE)


def test_file_above_the_clamd_limit_fails_and_stays_staged_for_a_replay(
    make_system: Callable[..., RunningSystem], clamd: RealClamd
) -> None:
    system = make_system(clamd_address=clamd.tcp, media_backoff_ms="20", allowed_types="text")
    with MediaServer({"a.txt": b"line\n" * (STREAM_MB * 1_048_576 // 5 + 100)}) as server, system.workers():
        [record] = system.wait_finished(system.submit(url=server.url("a.txt"), filename="a.txt").id)
    assert (record.status, record.stage, record.error_code) == (Status.FAILED, Stage.PERSIST, Code.ANTIVIRUS)
    assert record.attempts == 3
    assert system.stored_files() == []
    assert system.staged_files() == [record.id]  # a replay continues with this file


def test_partially_scanned_file_fails_if_clamd_reports_it(
    make_system: Callable[..., RunningSystem], limited_clamd: RealClamd
) -> None:
    system = make_system(clamd_address=limited_clamd.unix, media_attempts="1", allowed_types="text")
    with MediaServer({"a.txt": b"line\n" * 300_000}) as server, system.workers():
        [record] = system.wait_finished(system.submit(url=server.url("a.txt"), filename="a.txt").id)
    assert (record.status, record.error_code) == (Status.FAILED, Code.ANTIVIRUS)
    assert "MaxFileSize" in str(record.error)
    assert system.stored_files() == []


def findings(address: str, **settings: str) -> dict[str, Finding]:
    configured = load_settings(_env_file=None, clamd_address=address, **settings)
    return {finding.check: finding for finding in antivirus.run_checks(configured)}


def test_doctor_reports_version_and_size_limit_of_clamd(clamd: RealClamd) -> None:
    checks = findings(clamd.unix)
    assert checks["antivirus"].level is Level.WARN  # this clamd has no official signatures
    assert "ClamAV" in checks["antivirus"].message
    assert checks["antivirus test"].level is Level.OK
    assert checks["antivirus limit"].level is Level.WARN
    assert "clamd accepts at most 2 MB, the settings allow 2000 MB" in checks["antivirus limit"].message
    small = findings(clamd.tcp, **{f"max_{kind}_mb": "1" for kind in ("image", "video", "audio", "document")})
    assert small["antivirus limit"].level is Level.OK


def test_doctor_reports_whether_clamd_alerts_on_partial_scans(clamd: RealClamd, limited_clamd: RealClamd) -> None:
    assert findings(clamd.unix)["antivirus coverage"].level is Level.WARN
    assert findings(limited_clamd.unix)["antivirus coverage"].level is Level.OK


def test_doctor_fails_if_clamd_is_unavailable(stopped_clamd: RealClamd) -> None:
    assert {name: finding.level for name, finding in findings(stopped_clamd.unix).items()} == {"antivirus": Level.FAIL}


def test_clamd_accepts_files_up_to_its_size_limit(clamd: RealClamd) -> None:
    client = Clamd(clamd.unix)
    assert [client.accepts(size) for size in (STREAM_MB * 1_048_576, STREAM_MB * 1_048_576 + 1)] == [True, False]
