"""The object storage of scripts/chaos disturbs requests as configured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import Code, RetryableError
from pipeline.storage.object_store import ObjectStorage
from scripts.faults.leftovers import StoredFiles
from scripts.faults.store import StoreProxy

CONTENT = b"content of an object" * 50


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[StoreProxy]:
    made = StoreProxy(seed=1)
    for name, value in made.settings.items():
        monkeypatch.setenv(name, value)
    yield made
    made.end()


@pytest.fixture
def storage(store: StoreProxy) -> ObjectStorage:
    return ObjectStorage(store.settings["STORAGE_URL"])


def stored_files(store: StoreProxy) -> list[str]:
    return [str(path) for path, _ in store.add_to(StoredFiles(), Path("media")).objects]


def test_undisturbed_store_stores_content(store: StoreProxy, storage: ObjectStorage) -> None:
    storage.put_chunks([CONTENT], "ab/key")
    assert b"".join(storage.chunks("ab/key")) == CONTENT
    assert stored_files(store) == ["media/ab/key"]
    storage.delete("ab/key")
    assert (storage.size("ab/key"), stored_files(store)) == (None, [])


@pytest.mark.parametrize(
    ("disturbance", "left"),
    [("failing", []), ("refusing", []), ("reset", []), ("discarding", []), ("truncating", ["media/ab/key"])],
)
def test_disturbance_raises_a_storage_error(
    store: StoreProxy, storage: ObjectStorage, disturbance: str, left: list[str]
) -> None:
    store.disturbance = disturbance
    with pytest.raises(RetryableError) as caught:
        storage.put_chunks([CONTENT], "ab/key")
    assert caught.value.code is Code.STORAGE
    assert stored_files(store) == left
    assert store.affected[disturbance] > 0
    store.disturbance = "none"
    storage.put_chunks([CONTENT], "ab/key")
    assert storage.size("ab/key") == len(CONTENT)


def test_old_key_is_refused(store: StoreProxy, storage: ObjectStorage) -> None:
    store.key_id = "second-key"
    with pytest.raises(RetryableError):
        storage.put_chunks([CONTENT], "ab/key")
    assert store.refused > 0
