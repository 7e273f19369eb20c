"""Tests that every storage must pass."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import Code, PermanentError, StagingLostError
from pipeline.storage import FilePath, Storage, content_key

KEY = content_key("ab" * 32)
BAD_KEYS = [
    "",
    "/",
    "/etc/passwd",
    "../x",
    "ab/../../x",
    "ab/..",
    "ab//x",
    ".parts/x",
    "ab/.x",
    "ab\\x",
    "a\0b",
    "ä",
    "x" * 513,
]


def read_all(storage: Storage, key: str) -> bytes:
    return b"".join(storage.chunks(key))


class StorageContract:
    """Subclass it with the fixture `storage`."""

    big = 3 * 1024 * 1024 + 17

    @pytest.fixture
    def staged(self, tmp_path: Path) -> Path:
        path = tmp_path / "staged"
        path.write_bytes(b"content")
        return path

    def test_put_file_keeps_the_source_file(self, storage: Storage, staged: Path) -> None:
        storage.put_file(staged, KEY)
        assert (storage.size(KEY), read_all(storage, KEY)) == (7, b"content")
        assert staged.read_bytes() == b"content"

    def test_put_of_the_same_content_changes_nothing(self, storage: Storage, staged: Path) -> None:
        assert storage.put_file(staged, KEY)
        assert not storage.put_file(staged, KEY)
        assert read_all(storage, KEY) == b"content"

    def test_content_of_another_size_is_replaced(self, storage: Storage, staged: Path) -> None:
        storage.put_chunks([b"broken"], KEY)
        assert storage.put_file(staged, KEY)
        assert read_all(storage, KEY) == b"content"

    def test_put_files_returns_the_result_of_each(self, storage: Storage, tmp_path: Path) -> None:
        contents = [b"first", b"second", b"first", b"third"]
        keys = [content_key(digit * 64) for digit in ("a", "b", "a", "c")]
        files: list[tuple[FilePath, str]] = []
        for number, (content, key) in enumerate(zip(contents, keys, strict=True)):
            (tmp_path / str(number)).write_bytes(content)
            files.append((str(tmp_path / str(number)), key))
        storage.put_file(tmp_path / "1", keys[1])
        results = storage.put_files([*files, (tmp_path / "nothing", KEY), (tmp_path / "0", "../x")])
        assert (results[1], results[3]) == (False, True)
        assert True in (results[0], results[2])  # both, if they are stored at the same time
        assert [type(result) for result in results[4:]] == [StagingLostError, PermanentError]
        assert [read_all(storage, key) for key in keys] == contents
        assert storage.size(KEY) is None
        assert storage.put_files([]) == []

    def test_chunks_have_at_most_256_kib(self, storage: Storage, tmp_path: Path) -> None:
        content = os.urandom(self.big)
        (tmp_path / "big").write_bytes(content)
        storage.put_file(tmp_path / "big", KEY)
        pieces = list(storage.chunks(KEY))
        assert b"".join(pieces) == content
        assert max(map(len, pieces)) <= 256 * 1024

    def test_chunks_return_the_requested_range(self, storage: Storage) -> None:
        content = os.urandom(self.big)
        storage.put_chunks([content], KEY)
        last = len(content) - 1
        for start, stop in ((0, 1), (0, None), (5, None), (last, None), (last, last + 1), (7, 300_007), (1, last)):
            pieces = list(storage.chunks(KEY, start=start, stop=stop))
            assert b"".join(pieces) == content[start:stop], (start, stop)
            assert max(map(len, pieces)) <= 256 * 1024
        with pytest.raises(PermanentError) as caught:
            list(storage.chunks(content_key("cd" * 32), start=1, stop=2))
        assert caught.value.code == Code.NO_SOURCE

    def test_put_chunks_stores_in_order_and_returns_the_size(self, storage: Storage) -> None:
        piece = os.urandom(100_001)
        count = self.big // len(piece)
        assert storage.put_chunks((piece for _ in range(count)), "intake/x") == count * len(piece)
        assert read_all(storage, "intake/x") == piece * count

    @pytest.mark.parametrize("chunks", [[], [b""], [b"", b"a", b"", b"b"]])
    def test_empty_chunks_do_not_end_the_content(self, storage: Storage, chunks: list[bytes]) -> None:
        assert storage.put_chunks(chunks, KEY) == len(b"".join(chunks))
        assert read_all(storage, KEY) == b"".join(chunks)
        assert storage.size(KEY) == len(b"".join(chunks))

    def test_put_chunks_replaces_the_content(self, storage: Storage) -> None:
        storage.put_chunks([b"first"], KEY)
        storage.put_chunks([b"second"], KEY)
        assert read_all(storage, KEY) == b"second"

    def test_failed_put_chunks_keeps_the_old_content(self, storage: Storage) -> None:
        def source() -> Iterator[bytes]:
            yield b"x" * self.big
            raise ZeroDivisionError

        storage.put_chunks([b"before"], KEY)
        for key in (KEY, "intake/new"):
            with pytest.raises(ZeroDivisionError):
                storage.put_chunks(source(), key)
        assert read_all(storage, KEY) == b"before"
        assert storage.size("intake/new") is None

    def test_missing_content_has_no_size_and_no_chunks(self, storage: Storage) -> None:
        assert storage.size(KEY) is None
        with pytest.raises(PermanentError) as caught:
            read_all(storage, KEY)
        assert caught.value.code == Code.NO_SOURCE

    def test_delete_is_idempotent(self, storage: Storage, staged: Path) -> None:
        storage.put_file(staged, KEY)
        storage.delete(KEY)
        storage.delete(KEY)
        assert storage.size(KEY) is None

    def test_list_older_returns_direct_children(self, storage: Storage) -> None:
        for key in ("intake/a", "intake/b", "intake/b2/c", "intakes/d", "in/e", KEY):
            storage.put_chunks([b"x"], key)
        assert list(storage.list_older("intake", 3600)) == []
        time.sleep(1.1)  # stores report whole seconds
        assert sorted(storage.list_older("intake", 0)) == ["intake/a", "intake/b"]
        assert list(storage.list_older("nothing", 0)) == []

    def test_list_older_returns_all_pages(self, storage: Storage) -> None:
        expected = {f"intake/{number:04}" for number in range(50)}
        for key in expected:
            storage.put_chunks([b"x"], key)
        time.sleep(1.1)
        found = list(storage.list_older("intake", 0))
        assert len(found) == len(expected)
        assert set(found) == expected

    def test_keys_may_be_deleted_during_list_older(self, storage: Storage) -> None:
        for number in range(20):
            storage.put_chunks([b"x"], f"intake/{number}")
        time.sleep(1.1)
        assert sum(storage.delete_if_older(key, 0) for key in storage.list_older("intake", 0)) == 20
        assert list(storage.list_older("intake", 0)) == []

    def test_rewritten_content_is_not_old(self, storage: Storage) -> None:
        storage.put_chunks([b"first"], "intake/a")
        time.sleep(2.1)
        assert list(storage.list_older("intake", 1)) == ["intake/a"]
        storage.put_chunks([b"second"], "intake/a")
        assert not storage.delete_if_older("intake/a", 1)
        assert read_all(storage, "intake/a") == b"second"

    def test_delete_if_older_deletes_old_content_only(self, storage: Storage) -> None:
        storage.put_chunks([b"x"], "intake/a")
        assert not storage.delete_if_older("intake/a", 3600)
        assert storage.size("intake/a") == 1
        time.sleep(1.1)
        assert storage.delete_if_older("intake/a", 0)
        assert storage.size("intake/a") is None
        assert not storage.delete_if_older("intake/a", 0)

    def test_put_of_a_missing_file_raises_staging_lost(self, storage: Storage, tmp_path: Path) -> None:
        with pytest.raises(StagingLostError):
            storage.put_file(tmp_path / "nothing", KEY)
        assert storage.size(KEY) is None

    @pytest.mark.parametrize("key", BAD_KEYS)
    def test_keys_that_leave_the_root_are_refused(self, storage: Storage, staged: Path, key: str) -> None:
        for use in (
            lambda: storage.put_file(staged, key),
            lambda: storage.put_chunks([b"x"], key),
            lambda: read_all(storage, key),
            lambda: storage.size(key),
            lambda: storage.url(key),
            lambda: storage.signed_url(key, method="GET", seconds=60),
            lambda: storage.delete(key),
            lambda: storage.delete_if_older(key, 0),
            lambda: list(storage.list_older(key, 0)),
        ):
            with pytest.raises(PermanentError) as caught:
                use()
            assert caught.value.code == Code.STORAGE

    def test_concurrent_writers_leave_one_complete_object(self, storage: Storage, tmp_path: Path) -> None:
        content = os.urandom(300_000)
        (tmp_path / "a").write_bytes(content)
        seen: list[bytes] = []
        done = threading.Event()

        def read() -> None:
            while not done.is_set():
                if storage.size(KEY) is not None:
                    seen.append(read_all(storage, KEY))

        def write(turn: int) -> None:
            for _ in range(5):
                if turn % 2:
                    storage.put_file(tmp_path / "a", KEY)
                else:
                    storage.put_chunks([content[:100_000], content[100_000:]], KEY)

        reader = threading.Thread(target=read)
        writers = [threading.Thread(target=write, args=(turn,)) for turn in range(4)]
        for thread in (reader, *writers):
            thread.start()
        for thread in writers:
            thread.join()
        done.set()
        reader.join()
        assert read_all(storage, KEY) == content
        assert all(found == content for found in seen)
