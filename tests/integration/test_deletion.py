"""Deletion: what is removed, what stays, and content that another attachment stores at the same time."""

from __future__ import annotations

import hashlib
import random
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from actors.maintenance import deletions
from actors.maintenance.deletions import delete, finish_deletions
from actors.maintenance.tasks import remove_leftover_intake
from pipeline.catalogue import Catalogue
from pipeline.catalogue.deletions import Deletions
from pipeline.errors import Code, PermanentError, PipelineError, RetryableError, or_raise
from pipeline.models import Claim, Detected, Facts, Fetched, Kind, Record, Status, Validated
from pipeline.notifiers.live import EVENTS_KEY
from pipeline.services import Services
from pipeline.steps import persist as persisting
from pipeline.steps.persist import persist_many
from pipeline.storage import LocalStorage, content_key, intake_key
from tests.support.catalogues import attachment, claimed, failure, finished
from tests.support.media_server import MediaServer
from tests.support.system import RunningSystem, photo

CONTENT = b"what two have sent"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
KEY = content_key(SHA256)
VALIDATED = Validated(
    detected=Detected(fetched=Fetched(size=len(CONTENT), sha256=SHA256), kind=Kind.PTT, mime="audio/ogg", ext="ogg"),
    facts=Facts(),
)


@pytest.fixture
def tools(system: RunningSystem) -> Services:
    return system.services


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    path = tmp_path / "staged-by-the-test"
    path.write_bytes(CONTENT)
    return path


def begun(tools: Services) -> Claim:
    return claimed(tools.catalogue, tools.catalogue.accept(attachment()).id)


def stored(tools: Services, staged: Path, claim: Claim | None = None) -> Record:
    """An attachment that is done and has the content."""
    claim = claim or begun(tools)
    or_raise(persist_many([(claim, VALIDATED)], paths=[staged], storage=tools.storage, catalogue=tools.catalogue)[0])
    return tools.catalogue.finish(claim, announced=True)


def row(tools: Services, media_id: str) -> Record:
    found = tools.catalogue.get(media_id)
    assert found
    return found


def test_content_is_removed_with_its_last_attachment(tools: Services, staged: Path) -> None:
    first, second = stored(tools, staged), stored(tools, staged)
    delete(tools, first.id)
    assert tools.storage.size(KEY) == len(CONTENT)
    assert (row(tools, first.id).status, row(tools, first.id).storage_key) == ("deleted", None)
    assert row(tools, second.id) == second
    delete(tools, second.id)
    assert tools.storage.size(KEY) is None


def test_delete_leaves_a_tombstone_that_a_repeat_does_not_restore(system: RunningSystem) -> None:
    with MediaServer({"a.jpg": photo()}) as media, system.workers():
        given = {"url": media.url("a.jpg"), "kind": "image", "caption": "words", "filename": "a name.jpg"}
        sent = system.attachment(session="shop", chat="551199", sender="551188", **given)
        [record] = system.wait_finished(system.hook.accept(sent).id)
        assert record.status is Status.DONE
        assert "words" in str(system.queue.client.xrange(EVENTS_KEY))
        delete(system.services, record.id)
        again = system.hook.accept(sent)
        assert (again.mode, again.status) == ("duplicate", "deleted")
        assert media.hits("a.jpg") == 1
    left = system.record(record.id)
    told = {name for name, value in left.model_dump().items() if value not in (None, ())}
    assert not told & {"chat", "sender", "caption", "filename", "name", "error", "storage_key", "mismatch"}
    assert (left.session, left.message_id, left.run) == (record.session, record.message_id, 0)
    assert system.stored_files() == []
    assert "words" not in str(system.queue.client.xrange(EVENTS_KEY))
    with closing(sqlite3.connect(system.folder / "esteira.db")) as catalogue:
        assert "words" not in str(catalogue.execute("SELECT * FROM media").fetchall())


def test_delete_removes_bytes_kept_for_a_replay(system: RunningSystem, tools: Services) -> None:
    failed = finished(tools.catalogue, Status.FAILED)
    tools.storage.put_chunks([b"x"], intake_key(failed.id))
    with tools.staging.part(failed.id) as part:
        part.write(b"x")
    delete(tools, failed.id)
    assert (system.stored_files(), system.staged_files()) == ([], [])
    assert tools.catalogue.reopen(failed.id) is None
    assert system.sweep() == 0
    tools.storage.put_chunks([b"x"], intake_key(failed.id))  # by a replay that came too late
    assert remove_leftover_intake(tools, older_than_s=-1) == 1


def test_delete_needs_a_finished_attachment_and_may_be_repeated(tools: Services, staged: Path) -> None:
    held = begun(tools)
    ended = begun(tools)
    tools.catalogue.mark_failed(ended, failure())  # not announced yet
    for media_id, code in ((held.id, Code.NOT_ENDED), (ended.id, Code.NOT_ENDED), ("f" * 32, Code.NOT_FOUND)):
        with pytest.raises(PermanentError) as caught:
            delete(tools, media_id)
        assert caught.value.code is code
    assert row(tools, held.id) == held.record
    done = stored(tools, staged)
    first = delete(tools, done.id)
    assert delete(tools, done.id).deleted_at == first.deleted_at


def test_content_is_removed_later_after_a_storage_error(
    tools: Services, staged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = stored(tools, staged)

    def fail(self: LocalStorage, key: str) -> None:
        if key == KEY:
            raise RetryableError(Code.STORAGE, "away")

    with monkeypatch.context() as patched:
        patched.setattr(LocalStorage, "delete", fail)
        with pytest.raises(RetryableError):
            delete(tools, record.id)
    assert row(tools, record.id).status is Status.DELETED
    assert tools.storage.size(KEY) == len(CONTENT)
    assert finish_deletions(tools) == 0
    monkeypatch.setattr(deletions, "INTERRUPTED_AFTER_S", -1)
    assert finish_deletions(tools) == 1
    assert tools.storage.size(KEY) is None
    assert finish_deletions(tools) == 0


def test_slow_delete_leaves_the_content_to_a_later_one(
    tools: Services, staged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = stored(tools, staged)
    with monkeypatch.context() as patched:
        patched.setattr(deletions, "REMOVE_CONTENT_WITHIN_S", -1)
        delete(tools, record.id)
    assert tools.storage.size(KEY) == len(CONTENT)
    delete(tools, record.id)
    assert tools.storage.size(KEY) is None


# The moments of a deletion at which another attachment stores the same content completely.
MOMENTS: dict[str, tuple[type[Any], str, bool]] = {
    "before its note": (Deletions, "start", False),
    "before its look": (Deletions, "is_content_in_use", False),
    "after its look": (Deletions, "is_content_in_use", True),
    "after the removal": (LocalStorage, "delete", True),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_content_stored_during_a_delete_is_kept(
    tools: Services, staged: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    old, new = stored(tools, staged), begun(tools)
    owner, name, afterwards = MOMENTS[moment]
    plain = getattr(owner, name)
    others: list[threading.Thread] = []

    def meanwhile(self: Any, *given: Any, **named: Any) -> Any:
        result = plain(self, *given, **named) if afterwards else None
        if not others and given[0] in {old.id, SHA256, KEY}:
            others.append(threading.Thread(target=stored, args=(tools, staged, new)))
            others[0].start()
            others[0].join(0.4)
        return result if afterwards else plain(self, *given, **named)

    monkeypatch.setattr(owner, name, meanwhile)
    delete(tools, old.id)
    others[0].join(10)
    assert (row(tools, new.id).status, tools.storage.size(KEY)) == ("done", len(CONTENT))


@pytest.mark.parametrize("step", ["put_files", "mark_stored_many"])
def test_delete_during_persist_removes_nothing(
    tools: Services, staged: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    old, new = stored(tools, staged), begun(tools)
    owner: type[Any] = LocalStorage if step == "put_files" else Catalogue
    plain = getattr(owner, step)
    deleted: list[Record] = []

    def meanwhile(self: Any, *given: Any) -> Any:
        result = plain(self, *given)
        if not deleted:
            deleted.append(delete(tools, old.id))
        return result

    monkeypatch.setattr(owner, step, meanwhile)
    stored(tools, staged, new)
    assert deleted
    assert (row(tools, new.id).status, tools.storage.size(KEY)) == ("done", len(CONTENT))


def test_killed_delete_does_not_block_others_for_long(
    tools: Services, staged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = stored(tools, staged)
    tools.catalogue.deletions.start(old.id)
    monkeypatch.setattr(persisting, "DELETION_WITHIN_MS", 500)
    new = stored(tools, staged)
    assert (row(tools, new.id).status, tools.storage.size(KEY)) == ("done", len(CONTENT))
    monkeypatch.setattr(deletions, "INTERRUPTED_AFTER_S", -1)
    finish_deletions(tools)
    assert tools.storage.size(KEY) == len(CONTENT)


def test_random_deletes_and_stores_lose_no_content(make_system: Callable[..., RunningSystem], staged: Path) -> None:
    tools = make_system().services
    kept: list[str] = []
    faults: list[Exception] = []

    def work(seed: int) -> None:
        dice = random.Random(seed)
        try:
            for _ in range(12):
                media_id = stored(tools, staged).id
                if dice.random() < 0.8:
                    delete(tools, media_id)
                    continue
                assert tools.storage.size(KEY) is not None, media_id
                kept.append(media_id)
                if dice.random() < 0.9:
                    delete(tools, kept.pop())
        except (AssertionError, PipelineError) as error:  # called by the test's own thread
            faults.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not faults, faults
    assert (tools.storage.size(KEY) is not None) == bool(kept)
    for media_id in kept:
        delete(tools, media_id)
    assert tools.storage.size(KEY) is None
