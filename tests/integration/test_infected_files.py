"""A real clamd between validate and persist: what is infected stays out, and nothing gets past a clamd that is away."""

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
def stopped() -> Iterator[RealClamd]:
    program = find_clamd()
    if program is None:
        missing("clamd (Debian: clamav-daemon)")
    with real_clamd(str(program), f"StreamMaxLength {STREAM_MB}M") as server:
        yield server


@pytest.fixture
def clamd(stopped: RealClamd) -> RealClamd:
    stopped.start()
    return stopped


@pytest.fixture
def candid() -> Iterator[RealClamd]:
    """One that looks at a megabyte at most, and says so."""
    program = find_clamd()
    if program is None:
        missing("clamd (Debian: clamav-daemon)")
    with real_clamd(str(program), "MaxFileSize 1M", "AlertExceedsMax yes") as server:
        server.start()
        yield server


def letter(text: str) -> bytes:
    """A DOCX, which packs what it says."""
    document = docx.Document()
    document.add_paragraph(text)
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def kept(system: RunningSystem) -> list[str]:
    """What lies in storage and staging."""
    return [path.name for path in system.stored_files()] + system.staged_files()


@pytest.mark.parametrize("place", ["unix", "tcp"])
def test_an_infected_file_is_rejected_and_announced_and_nothing_of_it_is_kept(
    make_system: Callable[..., RunningSystem], clamd: RealClamd, place: str
) -> None:
    system = make_system(clamd_address=getattr(clamd, place), allowed_types="text", media_backoff_ms="50")
    files = {"bad.docx": letter(EICAR.decode()), "bad.txt": b"Look:\n" + EICAR, "good.docx": letter("Dear all")}
    with MediaServer(files) as server, system.workers():
        ids = [system.submit(url=server.url(name), filename=name).id for name in files]
        ids.append(system.submit(data=base64.b64encode(files["bad.docx"]).decode(), filename="inline.docx").id)
        letter_record, text_record, good, inline = system.wait_finished(*ids)
    for record in (letter_record, text_record, inline):
        assert (record.status, record.stage, record.error_code) == (Status.REJECTED, Stage.PERSIST, Code.MALWARE)
        assert (record.error, record.storage_key) == (f"clamd found {NAME}", None)
        assert record.announced_at
    assert good.status is Status.DONE
    assert good.storage_key
    assert kept(system) == [good.storage_key.rpartition("/")[2]]
    assert system.services.storage.size(intake_key(inline.id)) is None


def test_inline_bytes_of_an_infected_file_that_storage_kept_are_tidied(
    make_system: Callable[..., RunningSystem], clamd: RealClamd
) -> None:
    system = make_system(clamd_address=clamd.unix)
    infected = base64.b64encode(letter(EICAR.decode())).decode()
    with system.workers():
        [record] = system.wait_finished(system.submit(data=infected, filename="bad.docx").id)
    system.services.storage.put_chunks([b"storage was away when it ended"], intake_key(record.id))
    time.sleep(1.1)
    assert remove_leftover_intake(system.services, older_than_s=0) == 1
    assert kept(system) == []


def test_while_clamd_is_away_attachments_wait_and_use_up_no_attempt(
    make_system: Callable[..., RunningSystem], stopped: RealClamd
) -> None:
    system = make_system(clamd_address=stopped.unix, media_attempts="1", media_backoff_ms="50")
    with MediaServer({"a.jpg": photo(), "b.docx": letter(EICAR.decode())}) as server, system.workers():
        ids = [system.submit(url=server.url(name), filename=name).id for name in ("a.jpg", "b.docx")]
        wait_until(lambda: all(system.record(media_id).error_code for media_id in ids), 30)
        time.sleep(1)
        waiting = [system.record(media_id) for media_id in ids]
        assert kept(system) == sorted(ids)  # staged, and stored nowhere
        stopped.start()
        clean, bad = system.wait_finished(*ids, within_s=60)
        assert [server.hits(name) for name in ("a.jpg", "b.docx")] == [1, 1]
    assert [(one.status, one.stage, one.error_code) for one in waiting] == [
        (Status.RECEIVED, Stage.PERSIST, Code.ANTIVIRUS)
    ] * 2
    assert (clean.status, clean.error_code) == (Status.DONE, None)
    assert (bad.status, bad.error_code) == (Status.REJECTED, Code.MALWARE)


def test_what_is_larger_than_clamd_takes_has_failed_and_is_kept_for_a_replay(
    make_system: Callable[..., RunningSystem], clamd: RealClamd
) -> None:
    system = make_system(clamd_address=clamd.tcp, media_backoff_ms="20", allowed_types="text")
    with MediaServer({"a.txt": b"line\n" * (STREAM_MB * 1_048_576 // 5 + 100)}) as server, system.workers():
        [record] = system.wait_finished(system.submit(url=server.url("a.txt"), filename="a.txt").id)
    assert (record.status, record.stage, record.error_code) == (Status.FAILED, Stage.PERSIST, Code.ANTIVIRUS)
    assert record.attempts == 3
    assert system.stored_files() == []
    assert system.staged_files() == [record.id]  # a replay goes on here


def test_what_clamd_has_seen_a_part_of_is_not_let_in_where_clamd_tells(
    make_system: Callable[..., RunningSystem], candid: RealClamd
) -> None:
    system = make_system(clamd_address=candid.unix, media_attempts="1", allowed_types="text")
    with MediaServer({"a.txt": b"line\n" * 300_000}) as server, system.workers():
        [record] = system.wait_finished(system.submit(url=server.url("a.txt"), filename="a.txt").id)
    assert (record.status, record.error_code) == (Status.FAILED, Code.ANTIVIRUS)
    assert "MaxFileSize" in str(record.error)
    assert system.stored_files() == []


def findings(address: str, **settings: str) -> dict[str, Finding]:
    made = load_settings(_env_file=None, clamd_address=address, **settings)
    return {finding.check: finding for finding in antivirus.run_checks(made)}


def test_the_doctor_says_what_clamd_is_and_what_it_takes(clamd: RealClamd) -> None:
    found = findings(clamd.unix)
    assert found["antivirus"].level is Level.WARN  # it has no signatures of ClamAV's own
    assert "ClamAV" in found["antivirus"].message
    assert found["antivirus test"].level is Level.OK
    assert found["antivirus limit"].level is Level.WARN
    assert "clamd accepts at most 2 MB, the settings allow 2000 MB" in found["antivirus limit"].message
    small = findings(clamd.tcp, **{f"max_{kind}_mb": "1" for kind in ("image", "video", "audio", "document")})
    assert small["antivirus limit"].level is Level.OK


def test_the_doctor_knows_whether_clamd_tells_what_it_has_not_seen(clamd: RealClamd, candid: RealClamd) -> None:
    assert findings(clamd.unix)["antivirus coverage"].level is Level.WARN
    assert findings(candid.unix)["antivirus coverage"].level is Level.OK


def test_the_doctor_fails_a_clamd_that_is_away(stopped: RealClamd) -> None:
    assert {name: found.level for name, found in findings(stopped.unix).items()} == {"antivirus": Level.FAIL}


def test_clamd_says_what_it_takes_before_it_is_sent(clamd: RealClamd) -> None:
    client = Clamd(clamd.unix)
    assert [client.accepts(size) for size in (STREAM_MB * 1_048_576, STREAM_MB * 1_048_576 + 1)] == [True, False]
