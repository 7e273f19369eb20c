from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.catalogue import Catalogue
from pipeline.errors import (
    CancelledError,
    Code,
    PipelineError,
    RetryableError,
    StagingLostError,
    SupersededError,
    or_raise,
)
from pipeline.metrics import COUNTER_BUFFER
from pipeline.models import Claim, Detected, Facts, Fetched, Kind, Record, Status, Stored, Validated
from pipeline.steps.persist import persist_many, stored_name
from pipeline.storage import FilePath, LocalStorage, content_key
from tests.support.catalogues import Clock, attachment, claimed, mark_stored

CONTENT = b"a voice note"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
VALIDATED = Validated(
    detected=Detected(
        fetched=Fetched(size=len(CONTENT), sha256=SHA256), kind=Kind.PTT, mime="audio/ogg", ext="ogg", mismatch=None
    ),
    facts=Facts(duration_ms=2100),
)


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    catalogue = Catalogue(f"sqlite:///{tmp_path}/catalogue.db", clock=Clock(1_640_995_200.9))
    catalogue.migrate()
    return catalogue


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "media")


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    path = tmp_path / "staged"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def claim(catalogue: Catalogue) -> Claim:
    return claimed(catalogue, catalogue.accept(attachment()).id)


def stored_keys(storage: LocalStorage) -> list[str]:
    return [path.relative_to(storage.root).as_posix() for path in storage.root.rglob("*") if path.is_file()]


def persist(claim: Claim, *, path: Path, storage: LocalStorage, catalogue: Catalogue) -> Record:
    """Persists one attachment; raises the error that `persist_many` returns."""
    return or_raise(persist_many([(claim, VALIDATED)], paths=[path], storage=storage, catalogue=catalogue)[0])


def test_persist_stores_content_and_facts(
    claim: Claim, staged: Path, storage: LocalStorage, catalogue: Catalogue
) -> None:
    record = persist(claim, path=staged, storage=storage, catalogue=catalogue)
    assert Record.model_validate(dict(record)) == catalogue.get(claim.id)
    assert (record.status, record.storage_key, record.sha256) == (Status.STORED, content_key(SHA256), SHA256)
    assert (record.kind, record.mime, record.ext, record.size, record.duration_ms) == (
        "ptt", "audio/ogg", "ogg", len(CONTENT), 2100,
    )  # fmt: skip
    assert record.name == f"1640995200_{SHA256[:6]}.ogg"
    assert (storage.root / content_key(SHA256)).read_bytes() == CONTENT
    assert staged.exists()


def test_same_content_is_stored_once(claim: Claim, staged: Path, storage: LocalStorage, catalogue: Catalogue) -> None:
    COUNTER_BUFFER.drain()
    other = claimed(catalogue, catalogue.accept(attachment()).id)
    for each in (claim, other):
        persist(each, path=staged, storage=storage, catalogue=catalogue)
    assert stored_keys(storage) == [content_key(SHA256)]
    size = len(CONTENT)
    assert COUNTER_BUFFER.drain() == {"esteira_stored_bytes_total": 2 * size, "esteira_deduplicated_bytes_total": size}


def test_persist_is_idempotent(claim: Claim, staged: Path, storage: LocalStorage, catalogue: Catalogue) -> None:
    first = persist(claim, path=staged, storage=storage, catalogue=catalogue)
    assert persist(claim, path=staged, storage=storage, catalogue=catalogue) == Record.model_validate(dict(first))
    assert catalogue.totals()["stored"] == 1


@pytest.mark.parametrize("content", [None, b"", b"a voice", CONTENT + b"!"])
def test_incomplete_staged_file_is_not_stored(
    claim: Claim, staged: Path, storage: LocalStorage, catalogue: Catalogue, content: bytes | None
) -> None:
    staged.unlink() if content is None else staged.write_bytes(content)
    before = catalogue.get(claim.id)
    with pytest.raises(StagingLostError):
        persist(claim, path=staged, storage=storage, catalogue=catalogue)
    assert (catalogue.get(claim.id), stored_keys(storage)) == (before, [])


def test_lost_claim_writes_nothing_to_the_catalogue(
    claim: Claim, staged: Path, storage: LocalStorage, catalogue: Catalogue
) -> None:
    claimed(catalogue, claim.id, takeover=True)
    with pytest.raises(SupersededError):
        persist(claim, path=staged, storage=storage, catalogue=catalogue)
    record = catalogue.get(claim.id)
    assert record
    assert record.status is Status.RECEIVED


def test_storage_error_leaves_the_row_unstored(
    claim: Claim, staged: Path, storage: LocalStorage, catalogue: Catalogue
) -> None:
    storage.root.write_bytes(b"a file where the folder should be")
    with pytest.raises(RetryableError) as caught:
        persist(claim, path=staged, storage=storage, catalogue=catalogue)
    assert caught.value.code == Code.STORAGE
    record = catalogue.get(claim.id)
    assert record
    assert record.status is Status.RECEIVED


def test_stored_name_has_the_bullmq_form() -> None:
    assert stored_name(1_640_995_200_999, "abc123" + "0" * 58, "jpeg") == "1640995200_abc123.jpeg"


def test_cancelled_attachment_leaves_no_content(
    claim: Claim, staged: Path, storage: LocalStorage, catalogue: Catalogue
) -> None:
    catalogue.cancellations.request(claim.id)
    with pytest.raises(CancelledError):
        persist(claim, path=staged, storage=storage, catalogue=catalogue)
    assert stored_keys(storage) == []
    record = catalogue.get(claim.id)
    assert record
    assert (record.status, record.storage_key) == (Status.RECEIVED, None)


def test_cancellation_keeps_content_of_other_attachments(
    claim: Claim, staged: Path, storage: LocalStorage, catalogue: Catalogue
) -> None:
    other = claimed(catalogue, catalogue.accept(attachment()).id)
    catalogue.cancellations.request(claim.id)
    with pytest.raises(CancelledError):
        persist(claim, path=staged, storage=TakeoverDuringPut(storage, other, catalogue), catalogue=catalogue)
    assert stored_keys(storage) == [content_key(SHA256)]
    with pytest.raises(CancelledError):  # existing content is not removed either
        persist(claim, path=staged, storage=storage, catalogue=catalogue)
    assert stored_keys(storage) == [content_key(SHA256)]


class TakeoverDuringPut(LocalStorage):
    """While the first attachment stores its content, another one with that content has updated its row."""

    def __init__(self, storage: LocalStorage, other: Claim, catalogue: Catalogue) -> None:
        super().__init__(storage.root)
        self._other, self._catalogue = other, catalogue

    def put_files(self, files: Sequence[tuple[FilePath, str]]) -> list[bool | PipelineError]:
        written = super().put_files(files)
        key = files[0][1]
        mark_stored(self._catalogue, self._other, Stored(validated=VALIDATED, storage_key=key, name="other.ogg"))
        return written


def test_content_removed_by_a_cancellation_is_stored_again(
    claim: Claim, staged: Path, storage: LocalStorage, catalogue: Catalogue
) -> None:
    other = claimed(catalogue, catalogue.accept(attachment()).id)
    storage.put_file(staged, content_key(SHA256))
    noted = catalogue.cancellations.withdraw(other, sha256=SHA256, key=content_key(SHA256))
    assert not catalogue.deletions.is_content_in_use(SHA256)

    class Withdrawn(LocalStorage):
        def put_files(self, files: Sequence[tuple[FilePath, str]]) -> list[bool | PipelineError]:
            written = super().put_files(files)
            if catalogue.get(other.id) == noted:  # between storing the content and updating its row
                self.delete(files[0][1])
                catalogue.deletions.finish(noted)
            return written

    persist(claim, path=staged, storage=Withdrawn(storage.root), catalogue=catalogue)
    assert stored_keys(storage) == [content_key(SHA256)]


def validated_for(content: bytes) -> Validated:
    fetched = Fetched(size=len(content), sha256=hashlib.sha256(content).hexdigest())
    return VALIDATED.model_copy(update={"detected": VALIDATED.detected.model_copy(update={"fetched": fetched})})


def test_persist_many_returns_each_result_in_order(
    staged: Path, storage: LocalStorage, catalogue: Catalogue, tmp_path: Path
) -> None:
    contents = [CONTENT, b"another", CONTENT, b"lost", b"superseded", b"cancelled", b"last"]
    claims = [claimed(catalogue, catalogue.accept(attachment()).id) for _ in contents]
    paths = [tmp_path / f"staged-{number}" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    paths[3].unlink()
    claimed(catalogue, claims[4].id, takeover=True)
    catalogue.cancellations.request(claims[5].id)
    COUNTER_BUFFER.drain()
    work = [(claim, validated_for(content)) for claim, content in zip(claims, contents, strict=True)]
    results = persist_many(work, paths=paths, storage=storage, catalogue=catalogue)
    assert [Record if isinstance(result, Record) else type(result) for result in results] == [
        Record, Record, Record, StagingLostError, SupersededError, CancelledError, Record,
    ]  # fmt: skip
    for result, claim, content in zip(results, claims, contents, strict=True):
        if isinstance(result, Record):
            assert (result.id, result.sha256) == (claim.id, hashlib.sha256(content).hexdigest())
            assert (storage.root / content_key(result.sha256)).read_bytes() == content
            found = catalogue.get(claim.id)
            assert found
            assert found.status is Status.STORED
    kept = {content_key(hashlib.sha256(contents[index]).hexdigest()) for index in (0, 1, 4, 6)}
    assert set(stored_keys(storage)) == kept
    size = len(CONTENT)
    assert COUNTER_BUFFER.drain() == {
        "esteira_stored_bytes_total": 2 * size + len(b"another") + len(b"last"),
        "esteira_deduplicated_bytes_total": size,
    }
    assert persist_many([], paths=[], storage=storage, catalogue=catalogue) == []


def test_persist_many_restores_deleted_content_only(
    staged: Path, storage: LocalStorage, catalogue: Catalogue, tmp_path: Path
) -> None:
    other, first, second = (claimed(catalogue, catalogue.accept(attachment()).id) for _ in range(3))
    (tmp_path / "second").write_bytes(b"second")
    storage.put_file(staged, content_key(SHA256))
    noted = catalogue.cancellations.withdraw(other, sha256=SHA256, key=content_key(SHA256))
    puts: list[int] = []

    class Withdrawn(LocalStorage):
        def put_files(self, files: Sequence[tuple[FilePath, str]]) -> list[bool | PipelineError]:
            written = super().put_files(files)
            puts.append(len(files))
            if len(puts) == 1:
                self.delete(content_key(SHA256))
                catalogue.deletions.finish(noted)
            return written

    work = [(first, VALIDATED), (second, validated_for(b"second"))]
    paths = [staged, tmp_path / "second"]
    results = persist_many(work, paths=paths, storage=Withdrawn(storage.root), catalogue=catalogue)
    assert [isinstance(result, Record) for result in results] == [True, True]
    assert puts == [2, 1]
    assert len(stored_keys(storage)) == 2
