"""Single flight with real workers on one host and on two: each content is downloaded once, also after faults."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from actors.execution.claiming import claim_attachment, single_flight_option
from actors.execution.inline import run_inline
from actors.maintenance.deletions import delete
from actors.operations.workers import workers
from pipeline.errors import or_raise
from pipeline.models import Claim, ContentMatch, Fetched, Record, Status
from pipeline.services import Services
from tests.support.media_server import Answer, MediaServer
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.s3 import s3_server
from tests.support.system import RunningSystem, photo
from tests.support.waiting import wait_until

MakeSystem = Callable[..., RunningSystem]


class Contents:
    """A server with numbered photos."""

    def __init__(self, number: int) -> None:
        self.photos = [photo(size=(16, 12)) for _ in range(number)]
        self.hashes = [hashlib.sha256(content).hexdigest() for content in self.photos]
        self.server = MediaServer({f"{at}.jpg": content for at, content in enumerate(self.photos)})

    def url(self, at: int, *, of: object = "") -> str:
        """The URL of a photo. `of` makes different URLs for one photo."""
        return f"{self.server.url(f'{at}.jpg')}?of={of}"

    def hits(self) -> list[int]:
        return [self.server.hits(f"{at}.jpg") for at in range(len(self.photos))]


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.mark.slow
def test_each_content_is_downloaded_once(make_system: MakeSystem) -> None:
    system, contents = make_system(), Contents(100)
    fields = [(at % 100, f"s{at % 20:02}", at) for at in range(1000)]
    ids = [
        system.submit(
            session=session,
            url=contents.url(at, of=number),
            chat="c@g.us",
            file_sha256=contents.hashes[at],
            kind="image",
        ).id
        for at, session, number in fields
    ]
    with contents.server, system.workers(processes=2, threads=8):
        records = system.wait_finished(*ids, within_s=200)
    assert contents.hits() == [1] * 100
    assert [(record.status, record.sha256) for record in records] == [
        (Status.DONE, contents.hashes[at]) for at, *_ in fields
    ]
    assert len(system.stored_files()) == 100
    assert system.services.catalogue.totals()["deduplicated"] == 900
    assert {record.attempts for record in records} == {0}


def test_waiting_attachments_occupy_no_thread(system: RunningSystem) -> None:
    contents = Contents(2)
    contents.server.delay_s = 2
    with contents.server, system.workers(processes=2, threads=2):
        ids = [
            system.submit(url=contents.url(0, of=n), chat="c@g.us", file_sha256=contents.hashes[0]).id
            for n in range(12)
        ]
        wait_until(lambda: contents.hits()[0], 30)
        other = system.submit(url=contents.url(1)).id
        assert system.wait_finished(other)[0].status is Status.DONE
        assert {record.status for record in system.wait_finished(*ids)} == {Status.DONE}
    assert contents.hits() == [1, 1]
    assert all(system.services.catalogue.history(media_id)[0].code is None for media_id in ids)


def test_hosts_without_shared_disk_download_once(
    postgres: PostgresServer, make_system: MakeSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = Contents(6)
    with s3_server(monkeypatch):
        system = make_system(database_url=postgres.new_database(), storage_url="s3://media/x")
        contents.server.delay_s = 0.5
        system.env["STAGING_DIR"] = str(tmp_path / "host-a")
        with contents.server, system.workers(threads=4):
            system.env["STAGING_DIR"] = str(tmp_path / "host-b")
            with system.workers(threads=4):
                wait_until(lambda: len(workers(system.queue)) == 2, 30)
                ids = [
                    # Six sessions of one group chat: one upload, and a message to each session.
                    system.submit(
                        session=f"s{n}", url=contents.url(at), chat="c@g.us", file_sha256=contents.hashes[at]
                    ).id
                    for at in range(6)
                    for n in range(6)
                ]
                records = system.wait_finished(*ids, within_s=90)
        hands = {entry.worker for media_id in ids for entry in system.services.catalogue.history(media_id)}
    assert {record.status for record in records} == {Status.DONE}
    assert contents.hits() == [1] * 6
    assert len(hands) == 2


def test_next_attachment_downloads_after_a_failure(system: RunningSystem) -> None:
    contents = Contents(1)
    contents.server.delay_s = 0.5
    contents.server.answers["gone"] = Answer(410)
    with contents.server, system.workers(threads=4):
        gone = system.submit(url=contents.server.url("gone"), chat="c@g.us", file_sha256=contents.hashes[0]).id
        wait_until(lambda: contents.server.hits("gone"), 30)
        others = [
            system.submit(url=contents.url(0, of=n), chat="c@g.us", file_sha256=contents.hashes[0]).id for n in range(5)
        ]
        [expired] = system.wait_finished(gone)
        records = system.wait_finished(*others)
    assert expired.status is Status.EXPIRED
    assert {(record.status, record.attempts) for record in records} == {(Status.DONE, 0)}
    assert contents.hits() == [1]


def test_attachment_with_unreachable_source_uses_stored_content(system: RunningSystem) -> None:
    contents = Contents(1)
    contents.server.answers["down"] = Answer(503)
    with contents.server, system.workers(threads=4):
        first = system.submit(url=contents.server.url("down"), chat="c@g.us", file_sha256=contents.hashes[0]).id
        wait_until(lambda: contents.server.hits("down"), 30)
        second = system.submit(url=contents.url(0), chat="c@g.us", file_sha256=contents.hashes[0]).id
        records = system.wait_finished(first, second)
    assert {record.status for record in records} == {Status.DONE}
    assert contents.hits() == [1]


def test_another_worker_downloads_after_a_kill(make_system: MakeSystem) -> None:
    system, contents = make_system(claim_lease_s="3"), Contents(1)
    contents.server.delay_s = 60
    with contents.server:
        with system.workers(threads=2) as doomed:
            first = system.submit(url=contents.url(0, of=0), chat="c@g.us", file_sha256=contents.hashes[0]).id
            wait_until(lambda: contents.hits() == [1], 30)
            doomed.kill()
        contents.server.delay_s = 0
        others = [
            system.submit(url=contents.url(0, of=n), chat="c@g.us", file_sha256=contents.hashes[0]).id
            for n in range(1, 5)
        ]
        with system.workers(threads=4):
            assert {record.status for record in system.wait_finished(*others)} == {Status.DONE}
            assert contents.hits() == [2]
            system.reap_dead_workers()
            assert system.wait_finished(first)[0].status is Status.DONE
    assert contents.hits() == [2]


def test_forged_hash_gets_no_content_of_another_session(system: RunningSystem) -> None:
    contents = Contents(2)
    with contents.server:
        owner = system.attachment(url=contents.url(0), chat="c@g.us", file_sha256=contents.hashes[0])
        forged = system.attachment(session="forger", url=contents.url(1), chat="c@g.us", file_sha256=contents.hashes[0])
        ends = [run_inline(system.services, system.services.catalogue.accept(one).id) for one in (owner, forged)]
    assert [(end.status, end.error_code) for end in ends if end] == [
        (Status.DONE, None),
        (Status.REJECTED, "hash_mismatch"),
    ]
    assert ends[1]
    assert (ends[1].sha256, ends[1].storage_key) == (None, None)
    assert contents.hits() == [1, 1]


@pytest.mark.parametrize(("once", "hits"), [("all", [1]), ("off", [2])])
def test_fetch_once_setting_controls_sharing(make_system: MakeSystem, once: str, hits: list[int]) -> None:
    system, contents = make_system(fetch_once=once), Contents(1)
    with contents.server:
        for session, of in (("one", 1), ("two", 2)):
            one = system.attachment(
                session=session, url=contents.url(0, of=of), chat="c@g.us", file_sha256=contents.hashes[0]
            )
            end = run_inline(system.services, system.services.catalogue.accept(one).id)
            assert end
            assert end.status is Status.DONE
    assert contents.hits() == hits


def test_matched_content_is_checked_against_its_own_declaration(make_system: MakeSystem) -> None:
    system, contents = make_system(mismatch="reject"), Contents(1)
    with contents.server:
        for kind, mimetype in (("image", "image/jpeg"), ("document", "application/pdf")):
            one = system.attachment(
                url=contents.url(0), chat="c@g.us", file_sha256=contents.hashes[0], kind=kind, mimetype=mimetype
            )
            end = run_inline(system.services, system.services.catalogue.accept(one).id)
    assert end
    assert (end.status, end.error_code) == (Status.REJECTED, "type_mismatch")
    assert contents.hits() == [1]


def store(tools: Services, claim: Claim, fetched: Fetched) -> Record:
    """Runs detect, validate and persist."""
    detected = or_raise(tools.detect_many([(claim, fetched)])[0])
    return or_raise(tools.persist_many([(claim, tools.validate(claim, detected))])[0])


def test_content_deleted_after_the_claim_is_downloaded_again(system: RunningSystem) -> None:
    contents, tools = Contents(1), system.services
    with contents.server:
        first, second = (
            system.attachment(url=contents.url(0), chat="c@g.us", file_sha256=contents.hashes[0]) for _ in range(2)
        )
        run_inline(tools, tools.catalogue.accept(first).id)
        claim = claim_attachment(tools, tools.catalogue.accept(second).id, flight=single_flight_option(tools.settings))
        assert claim.content_match is ContentMatch.BY_SOURCE
        delete(tools, first.id)
        assert system.stored_files() == []
        fetched = tools.fetch(claim)
        assert not fetched.deduplicated
        record = store(tools, claim, fetched)
    assert [path.name for path in system.stored_files()] == [record.sha256]
    assert contents.hits() == [2]


def test_content_deleted_after_the_fetch_is_stored_again(system: RunningSystem) -> None:
    contents, tools = Contents(1), system.services
    with contents.server:
        first, second = (
            system.attachment(url=contents.url(0), chat="c@g.us", file_sha256=contents.hashes[0]) for _ in range(2)
        )
        run_inline(tools, tools.catalogue.accept(first).id)
        claim = claim_attachment(tools, tools.catalogue.accept(second).id, flight=single_flight_option(tools.settings))
        fetched = tools.fetch(claim)
        delete(tools, first.id)
        record = store(tools, claim, fetched)
    assert fetched.deduplicated
    assert [path.name for path in system.stored_files()] == [record.sha256]
    assert contents.hits() == [1]


def test_inline_run_uses_stored_content(system: RunningSystem) -> None:
    away = system.with_redis("redis://127.0.0.1:9/0")
    contents = Contents(1)
    with contents.server:
        receipts = [
            away.submit(url=contents.url(0, of=n), chat="c@g.us", file_sha256=contents.hashes[0]) for n in range(3)
        ]
    assert [receipt.mode for receipt in receipts] == ["inline"] * 3
    assert {record.status for record in system.wait_finished(*(receipt.id for receipt in receipts))} == {Status.DONE}
    assert contents.hits() == [1]
    away.close()
