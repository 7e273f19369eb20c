"""The object storage of scripts/chaos does to the product what its moods say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import Code, RetryableError
from pipeline.storage import ObjectStorage
from scripts.faults.leftovers import Kept
from scripts.faults.store import Store

CONTENT = b"content of an object" * 50


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    made = Store(seed=1)
    for name, value in made.settings.items():
        monkeypatch.setenv(name, value)
    yield made
    made.end()


@pytest.fixture
def storage(store: Store) -> ObjectStorage:
    return ObjectStorage(store.settings["STORAGE_URL"])


def kept(store: Store) -> list[str]:
    return [str(path) for path, _ in store.add_to(Kept(), Path("media")).objects]


def test_a_store_that_is_well_keeps_what_it_is_given(store: Store, storage: ObjectStorage) -> None:
    storage.put_chunks([CONTENT], "ab/key")
    assert b"".join(storage.chunks("ab/key")) == CONTENT
    assert kept(store) == ["media/ab/key"]
    storage.delete("ab/key")
    assert (storage.size("ab/key"), kept(store)) == (None, [])


@pytest.mark.parametrize(
    ("mood", "left"),
    [("failing", []), ("refusing", []), ("deaf", []), ("forgetful", []), ("careless", ["media/ab/key"])],
)
def test_what_goes_wrong_there_is_told_by_storage(
    store: Store, storage: ObjectStorage, mood: str, left: list[str]
) -> None:
    store.mood = mood
    with pytest.raises(RetryableError) as caught:
        storage.put_chunks([CONTENT], "ab/key")
    assert caught.value.code is Code.STORAGE
    assert kept(store) == left
    assert store.befallen[mood] > 0
    store.mood = "well"
    storage.put_chunks([CONTENT], "ab/key")
    assert storage.size("ab/key") == len(CONTENT)


def test_a_key_that_is_no_longer_right_is_refused(store: Store, storage: ObjectStorage) -> None:
    store.key_id = "second-key"
    with pytest.raises(RetryableError):
        storage.put_chunks([CONTENT], "ab/key")
    assert store.refused > 0
