"""What every storage must do."""

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


def whole(storage: Storage, key: str) -> bytes:
    return b"".join(storage.chunks(key))


class StorageContract:
    """Inherit it and give it a fixture `storage`."""

    big = 3 * 1024 * 1024 + 17

    @pytest.fixture
    def staged(self, tmp_path: Path) -> Path:
        path = tmp_path / "staged"
        path.write_bytes(b"content")
        return path

    def test_a_file_is_stored_and_stays_where_it_was(self, storage: Storage, staged: Path) -> None:
        storage.put_file(staged, KEY)
        assert (storage.size(KEY), whole(storage, KEY)) == (7, b"content")
        assert staged.read_bytes() == b"content"

    def test_the_same_content_again_changes_nothing(self, storage: Storage, staged: Path) -> None:
        assert storage.put_file(staged, KEY)
        assert not storage.put_file(staged, KEY)
        assert whole(storage, KEY) == b"content"

    def test_content_of_another_size_under_its_key_is_replaced(self, storage: Storage, staged: Path) -> None:
        storage.put_chunks([b"broken"], KEY)
        assert storage.put_file(staged, KEY)
        assert whole(storage, KEY) == b"content"

    def test_of_many_files_each_is_stored_by_itself(self, storage: Storage, tmp_path: Path) -> None:
        contents = [b"first", b"second", b"first", b"third"]
        keys = [content_key(digit * 64) for digit in ("a", "b", "a", "c")]
        files: list[tuple[FilePath, str]] = []
        for number, (content, key) in enumerate(zip(contents, keys, strict=True)):
            (tmp_path / str(number)).write_bytes(content)
            files.append((str(tmp_path / str(number)), key))
        storage.put_file(tmp_path / "1", keys[1])
        results = storage.put_files([*files, (tmp_path / "nothing", KEY), (tmp_path / "0", "../x")])
        assert (results[1], results[3]) == (False, True)
        assert True in (results[0], results[2])  # both, where they go at the same time
        assert [type(result) for result in results[4:]] == [StagingLostError, PermanentError]
        assert [whole(storage, key) for key in keys] == contents
        assert storage.size(KEY) is None
        assert storage.put_files([]) == []

    def test_a_big_file_comes_back_in_pieces_of_at_most_256_kib(self, storage: Storage, tmp_path: Path) -> None:
        content = os.urandom(self.big)
        (tmp_path / "big").write_bytes(content)
        storage.put_file(tmp_path / "big", KEY)
        pieces = list(storage.chunks(KEY))
        assert b"".join(pieces) == content
        assert max(map(len, pieces)) <= 256 * 1024

    def test_a_part_of_the_content_comes_alone(self, storage: Storage) -> None:
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

    def test_chunks_are_stored_in_order_and_counted(self, storage: Storage) -> None:
        piece = os.urandom(100_001)
        count = self.big // len(piece)
        assert storage.put_chunks((piece for _ in range(count)), "intake/x") == count * len(piece)
        assert whole(storage, "intake/x") == piece * count

    @pytest.mark.parametrize("chunks", [[], [b""], [b"", b"a", b"", b"b"]])
    def test_empty_chunks_are_no_end(self, storage: Storage, chunks: list[bytes]) -> None:
        assert storage.put_chunks(chunks, KEY) == len(b"".join(chunks))
        assert whole(storage, KEY) == b"".join(chunks)
        assert storage.size(KEY) == len(b"".join(chunks))

    def test_chunks_replace_what_stood_there(self, storage: Storage) -> None:
        storage.put_chunks([b"first"], KEY)
        storage.put_chunks([b"second"], KEY)
        assert whole(storage, KEY) == b"second"

    def test_a_source_that_breaks_off_leaves_what_stood_there(self, storage: Storage) -> None:
        def source() -> Iterator[bytes]:
            yield b"x" * self.big
            raise ZeroDivisionError

        storage.put_chunks([b"before"], KEY)
        for key in (KEY, "intake/new"):
            with pytest.raises(ZeroDivisionError):
                storage.put_chunks(source(), key)
        assert whole(storage, KEY) == b"before"
        assert storage.size("intake/new") is None

    def test_what_is_not_there_has_no_size_and_no_chunks(self, storage: Storage) -> None:
        assert storage.size(KEY) is None
        with pytest.raises(PermanentError) as caught:
            whole(storage, KEY)
        assert caught.value.code == Code.NO_SOURCE

    def test_deleting_is_idempotent(self, storage: Storage, staged: Path) -> None:
        storage.put_file(staged, KEY)
        storage.delete(KEY)
        storage.delete(KEY)
        assert storage.size(KEY) is None

    def test_old_keys_of_a_folder_are_those_right_below_it(self, storage: Storage) -> None:
        for key in ("intake/a", "intake/b", "intake/b2/c", "intakes/d", "in/e", KEY):
            storage.put_chunks([b"x"], key)
        assert list(storage.list_older("intake", 3600)) == []
        time.sleep(1.1)  # stores tell whole seconds
        assert sorted(storage.list_older("intake", 0)) == ["intake/a", "intake/b"]
        assert list(storage.list_older("nothing", 0)) == []

    def test_many_old_keys_are_all_told(self, storage: Storage) -> None:
        expected = {f"intake/{number:04}" for number in range(50)}
        for key in expected:
            storage.put_chunks([b"x"], key)
        time.sleep(1.1)
        found = list(storage.list_older("intake", 0))
        assert len(found) == len(expected)
        assert set(found) == expected

    def test_old_keys_may_go_while_they_are_told(self, storage: Storage) -> None:
        for number in range(20):
            storage.put_chunks([b"x"], f"intake/{number}")
        time.sleep(1.1)
        assert sum(storage.delete_if_older(key, 0) for key in storage.list_older("intake", 0)) == 20
        assert list(storage.list_older("intake", 0)) == []

    def test_what_was_written_again_is_not_old(self, storage: Storage) -> None:
        storage.put_chunks([b"first"], "intake/a")
        time.sleep(2.1)
        assert list(storage.list_older("intake", 1)) == ["intake/a"]
        storage.put_chunks([b"second"], "intake/a")
        assert not storage.delete_if_older("intake/a", 1)
        assert whole(storage, "intake/a") == b"second"

    def test_only_what_is_old_and_there_is_deleted_for_its_age(self, storage: Storage) -> None:
        storage.put_chunks([b"x"], "intake/a")
        assert not storage.delete_if_older("intake/a", 3600)
        assert storage.size("intake/a") == 1
        time.sleep(1.1)
        assert storage.delete_if_older("intake/a", 0)
        assert storage.size("intake/a") is None
        assert not storage.delete_if_older("intake/a", 0)

    def test_a_staged_file_that_is_gone_is_said_to_be_lost(self, storage: Storage, tmp_path: Path) -> None:
        with pytest.raises(StagingLostError):
            storage.put_file(tmp_path / "nothing", KEY)
        assert storage.size(KEY) is None

    @pytest.mark.parametrize("key", BAD_KEYS)
    def test_no_key_leads_out(self, storage: Storage, staged: Path, key: str) -> None:
        for use in (
            lambda: storage.put_file(staged, key),
            lambda: storage.put_chunks([b"x"], key),
            lambda: whole(storage, key),
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

    def test_writers_of_one_key_leave_one_object_and_no_reader_sees_half(
        self, storage: Storage, tmp_path: Path
    ) -> None:
        content = os.urandom(300_000)
        (tmp_path / "a").write_bytes(content)
        seen: list[bytes] = []
        done = threading.Event()

        def read() -> None:
            while not done.is_set():
                if storage.size(KEY) is not None:
                    seen.append(whole(storage, KEY))

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
        assert whole(storage, KEY) == content
        assert all(found == content for found in seen)
