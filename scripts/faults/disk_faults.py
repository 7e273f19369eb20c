"""Disk faults: full, out of inodes, read-only. Each public function is one round."""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress
from pathlib import Path

from scripts.faults.environment import SkippedError, Testbed

DISK_MB = 60
INODES = 6000


def fill_storage(testbed: Testbed, _round_number: int) -> None:
    _fill(testbed, storage(testbed))


def fill_staging(testbed: Testbed, _round_number: int) -> None:
    _fill(testbed, staging(testbed))


def disturb_disk(testbed: Testbed, round_number: int) -> None:
    """Uses up the inodes of storage, then of staging; then makes each of them read-only."""
    folder = (storage(testbed), staging(testbed))[round_number % 2]
    _use_up_inodes(testbed, folder) if round_number % 4 < 2 else _make_read_only(testbed, folder)


def storage(testbed: Testbed) -> Path:
    return testbed.folder / "var" / "media"


def staging(testbed: Testbed) -> Path:
    return testbed.folder / "var" / "staging"


def _fill(testbed: Testbed, folder: Path) -> None:
    """Mounts a small disk on this folder and fills it for some seconds."""
    if folder not in testbed.mounts:
        _mount(testbed, folder)
    ballast = folder / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as out:
        while out.write(bytes(64 * 1024)):
            pass
    time.sleep(testbed.rng.uniform(3, 5))
    ballast.unlink()
    time.sleep(testbed.rng.uniform(4, 6))


def _use_up_inodes(testbed: Testbed, folder: Path) -> None:
    """Mounts a small disk on this folder and uses up its inodes for some seconds."""
    if folder not in testbed.mounts:
        _mount(testbed, folder)
    ballast: list[Path] = []
    with suppress(OSError):
        while True:
            path = folder / f"ballast-{len(ballast)}"
            path.touch()
            ballast.append(path)
    time.sleep(testbed.rng.uniform(3, 5))
    for path in ballast:
        path.unlink()
    time.sleep(testbed.rng.uniform(4, 6))


def _make_read_only(testbed: Testbed, folder: Path) -> None:
    """Bind-mounts the folder read-only over itself: a remount is refused while a file in it is open for writing."""
    _run_mount("--bind", "-o", "ro", str(folder), str(folder))
    testbed.mounts.append(folder)
    time.sleep(testbed.rng.uniform(3, 5))
    subprocess.run(["umount", "-l", str(folder)], check=True)
    testbed.mounts.remove(folder)
    time.sleep(testbed.rng.uniform(4, 6))


def _mount(testbed: Testbed, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part in testbed.parts:
        part.keep_down = True
    for part in testbed.parts:
        part.stop()
    stored_files = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    _run_mount("-t", "tmpfs", "-o", f"size={DISK_MB}m,nr_inodes={INODES}", "tmpfs", str(folder))
    testbed.mounts.append(folder)
    for name, content in stored_files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    for part in testbed.parts:
        part.keep_down = False
    testbed.target.wait_until_ready()
    time.sleep(2)


def _run_mount(*arguments: str) -> None:
    mounted = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if mounted.returncode:
        raise SkippedError(f"mount is not allowed here: {mounted.stderr.strip()}")
