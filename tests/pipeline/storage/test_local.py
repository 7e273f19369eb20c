from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.errors import Code, PermanentError, RetryableError
from pipeline.storage import FilePath, LocalStorage, content_key
from tests.pipeline.storage.contract_storage import KEY, StorageContract, read_all


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "root" / "media")


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    path = tmp_path / "staged"
    path.write_bytes(b"content")
    return path


class TestContract(StorageContract):
    def test_no_temporary_file_is_left(self, storage: LocalStorage, staged: Path) -> None:
        storage.put_file(staged, KEY)
        storage.put_file(staged, KEY)
        storage.put_chunks([b"x"], "intake/y")
        assert [path.relative_to(storage.root).as_posix() for path in files(storage.root)] == [KEY, "intake/y"]


def test_file_on_the_same_filesystem_is_linked(storage: LocalStorage, staged: Path) -> None:
    storage.put_file(staged, KEY)
    assert (storage.root / KEY).stat().st_ino == staged.stat().st_ino


@pytest.mark.parametrize("fault", [errno.EXDEV, errno.EPERM, errno.EMLINK])
def test_file_is_copied_where_links_fail(
    storage: LocalStorage, staged: Path, monkeypatch: pytest.MonkeyPatch, fault: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(fault, os.strerror(fault))

    monkeypatch.setattr(os, "link", refuse)
    storage.put_file(staged, KEY)
    assert read_all(storage, KEY) == b"content"
    assert (storage.root / KEY).stat().st_ino != staged.stat().st_ino
    assert len(files(storage.root)) == 1


def test_new_content_is_synced_before_it_is_linked(
    storage: LocalStorage, staged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    fsync, link = os.fsync, os.link

    def noted_fsync(descriptor: int) -> None:
        events.append(f"sync {Path(f'/proc/self/fd/{descriptor}').resolve().name}")
        fsync(descriptor)

    def noted_link(source: Path, name: str, *, dst_dir_fd: int) -> None:
        events.append(f"name {Path(f'/proc/self/fd/{dst_dir_fd}/{name}').resolve().relative_to(storage.root)}")
        link(source, name, dst_dir_fd=dst_dir_fd)

    storage.put_chunks([b"x"], f"{KEY}-beside")  # creates the directories
    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "link", noted_link)
    storage.put_file(staged, KEY)
    assert events == [f"sync {staged.name}", f"name {KEY}", f"sync {Path(KEY).parent.name}"]


def test_replaced_content_is_synced_before_it_is_renamed(
    storage: LocalStorage, staged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        kind = "folder" if Path(f"/proc/self/fd/{descriptor}").resolve().is_dir() else "file"
        events.append(f"sync {kind}")
        fsync(descriptor)

    def noted_replace(self: Path, target: Path) -> Path:
        events.append("name")
        return replace(self, target)

    storage.put_chunks([b"x"], KEY)  # creates the directories
    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    storage.put_file(staged, KEY)
    storage.put_chunks([b"y"], KEY)
    assert events == ["sync file", "name", "sync folder"] * 2


def test_put_files_syncs_each_file_and_each_directory_once(
    storage: LocalStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [content_key(start + "0" * 62) for start in ("ab", "ac", "ad")]
    keys.insert(1, content_key("ab" + "1" * 62))
    files: list[tuple[FilePath, str]] = []
    for number, key in enumerate(keys):
        (tmp_path / f"{number}").write_bytes(b"x")
        files.append((tmp_path / f"{number}", key))
        storage.put_chunks([b"x"], f"{key}-beside")  # creates the directories
    asked: list[str] = []
    fsync = os.fsync

    def noted_fsync(descriptor: int) -> None:
        asked.append(Path(f"/proc/self/fd/{descriptor}").resolve().name)
        fsync(descriptor)
        if asked[-1] == "ac":
            raise OSError(errno.EIO, "a disk that fails")

    monkeypatch.setattr(os, "fsync", noted_fsync)
    results = storage.put_files(files)
    assert asked == ["0", "1", "2", "3", "ab", "ac", "ad"]
    assert [str(result) if isinstance(result, RetryableError) else result for result in results] == [
        True, True, "storage: storage cannot be written: a disk that fails", True,
    ]  # fmt: skip


def test_put_files_closes_all_descriptors(storage: LocalStorage, staged: Path, tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    storage.put_files([(staged, KEY), (staged, "x/y"), (tmp_path / "nothing", "a/b"), (staged, "../x")])
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE])
def test_disk_error_is_retryable_and_leaves_nothing(
    storage: LocalStorage, staged: Path, monkeypatch: pytest.MonkeyPatch, fault: int
) -> None:
    def fail(*_: object) -> int:
        raise OSError(fault, os.strerror(fault), "/secret/place")

    monkeypatch.setattr(os, "fsync", fail)
    for use in (lambda: storage.put_file(staged, KEY), lambda: storage.put_chunks([b"x"], KEY)):
        with pytest.raises(RetryableError) as caught:
            use()
        assert caught.value.code == Code.STORAGE
        assert "/secret/place" not in str(caught.value)
    monkeypatch.undo()
    assert files(storage.root) == []


def test_full_disk_leaves_nothing_and_recovers(tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", mount], check=False).returncode
    ):
        pytest.skip("a small filesystem cannot be mounted here")
    try:
        storage = LocalStorage(mount / "media")
        with pytest.raises(RetryableError, match="No space left"):
            storage.put_chunks((b"x" * 65536 for _ in range(64)), KEY)
        assert files(mount) == []
        storage.put_chunks([b"fits"], KEY)
        assert read_all(storage, KEY) == b"fits"
    finally:
        subprocess.run(["umount", mount], check=True)


def test_link_out_of_the_root_is_refused(storage: LocalStorage, tmp_path: Path) -> None:
    storage.put_chunks([b"x"], KEY)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"secret")
    (storage.root / "ln").symlink_to(tmp_path / "outside")
    (storage.root / "ab" / "one").symlink_to(tmp_path / "outside" / "secret")
    for use in (
        lambda: storage.put_file(tmp_path / "outside" / "secret", "ln/new"),
        lambda: storage.put_file(tmp_path / "outside" / "secret", "ln/below/new"),
        lambda: storage.put_chunks([b"x"], "ln/new"),
        lambda: read_all(storage, "ln/secret"),
        lambda: storage.size("ln/secret"),
        lambda: storage.delete("ln/secret"),
    ):
        with pytest.raises(PermanentError):
            use()
    with pytest.raises(RetryableError):
        read_all(storage, "ab/one")
    assert storage.size("ab/one") is None
    assert [(path.name, path.read_bytes()) for path in files(tmp_path / "outside")] == [("secret", b"secret")]


def test_link_within_the_root_is_followed(storage: LocalStorage, staged: Path) -> None:
    storage.put_chunks([b"x"], "there/x")
    (storage.root / "here").symlink_to("there")
    assert storage.put_file(staged, "here/y")
    assert read_all(storage, "there/y") == b"content"


def test_leftovers_of_a_killed_process_are_removed(storage: LocalStorage) -> None:
    program = (
        "import sys, time, pathlib; from pipeline.storage import LocalStorage\n"
        "def source():\n    yield b'half'\n    print('half', flush=True)\n    time.sleep(60)\n"
        "LocalStorage(pathlib.Path(sys.argv[1])).put_chunks(source(), 'ab/x')"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(storage.root)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
    )
    assert child.stdout
    child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert storage.size("ab/x") is None
    assert all(".parts" in path.parts for path in files(storage.root))
    assert len(files(storage.root)) == 1
    assert storage.discard_stale_parts(60) == 0
    time.sleep(0.02)
    assert storage.discard_stale_parts(0.01) == 1
    assert files(storage.root) == []


def test_new_link_to_an_old_file_is_not_a_leftover(storage: LocalStorage, staged: Path) -> None:
    os.utime(staged, (0, 0))
    (storage.root / ".parts").mkdir(parents=True)
    (storage.root / ".parts" / "being-written").hardlink_to(staged)
    assert storage.discard_stale_parts(60) == 0


def test_deleted_root_is_created_again(storage: LocalStorage, staged: Path) -> None:
    storage.put_file(staged, KEY)
    shutil.rmtree(storage.root)
    storage.put_file(staged, KEY)
    assert read_all(storage, KEY) == b"content"


def test_url_is_a_file_url(storage: LocalStorage) -> None:
    assert storage.url(KEY) == (storage.root / KEY).as_uri()


@pytest.mark.parametrize("folder", ["/a b/ç#?", "/", "/var/media"])
def test_url_quotes_the_directory_name(folder: str) -> None:
    assert LocalStorage(Path(folder)).url(KEY) == (Path(folder) / KEY).as_uri()
