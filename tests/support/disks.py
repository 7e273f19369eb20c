"""Small disks in memory for tests of full disks. Tests are skipped where mounting is not permitted."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, *, megabytes: int) -> Iterator[Path]:
    """Mounts a disk of this size at `folder` for the duration of the block."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mount is not permitted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill_disk(folder: Path) -> Path:
    """Fills the disk of this folder with one file and returns it; removing the file frees the space."""
    ballast = folder / "ballast"
    room = os.statvfs(folder)
    with ballast.open("wb") as out:
        os.posix_fallocate(out.fileno(), 0, room.f_bavail * room.f_frsize)
    return ballast
