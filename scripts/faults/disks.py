"""Faults of disks: full, out of inodes, read-only. Each function is one round."""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress
from pathlib import Path

from scripts.faults.environment import Site, SkippedError

DISK_MB = 60
INODES = 6000


def fill_storage(site: Site, _turn: int) -> None:
    _fill(site, storage(site))


def fill_staging(site: Site, _turn: int) -> None:
    _fill(site, staging(site))


def spoil(site: Site, turn: int) -> None:
    """No inode left on storage, on staging; then either of them read-only."""
    folder = (storage(site), staging(site))[turn % 2]
    _use_up_inodes(site, folder) if turn % 4 < 2 else _make_read_only(site, folder)


def storage(site: Site) -> Path:
    return site.folder / "var" / "media"


def staging(site: Site) -> Path:
    return site.folder / "var" / "staging"


def _fill(site: Site, folder: Path) -> None:
    """A small disk under this folder, full for a while."""
    if folder not in site.mounts:
        _mount(site, folder)
    ballast = folder / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as out:
        while out.write(bytes(64 * 1024)):
            pass
    time.sleep(site.chance.uniform(3, 5))
    ballast.unlink()
    time.sleep(site.chance.uniform(4, 6))


def _use_up_inodes(site: Site, folder: Path) -> None:
    """A small disk under this folder, with room and without an inode for a while."""
    if folder not in site.mounts:
        _mount(site, folder)
    ballast: list[Path] = []
    with suppress(OSError):
        while True:
            path = folder / f"ballast-{len(ballast)}"
            path.touch()
            ballast.append(path)
    time.sleep(site.chance.uniform(3, 5))
    for path in ballast:
        path.unlink()
    time.sleep(site.chance.uniform(4, 6))


def _make_read_only(site: Site, folder: Path) -> None:
    """The folder, mounted over itself to be read only: a remount is refused as long as something is being written."""
    _run_mount("--bind", "-o", "ro", str(folder), str(folder))
    site.mounts.append(folder)
    time.sleep(site.chance.uniform(3, 5))
    subprocess.run(["umount", "-l", str(folder)], check=True)
    site.mounts.remove(folder)
    time.sleep(site.chance.uniform(4, 6))


def _mount(site: Site, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part in site.parts:
        part.held = True
    for part in site.parts:
        part.stop()
    kept = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    _run_mount("-t", "tmpfs", "-o", f"size={DISK_MB}m,nr_inodes={INODES}", "tmpfs", str(folder))
    site.mounts.append(folder)
    for name, content in kept.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    for part in site.parts:
        part.held = False
    site.plant.wait_until_ready()
    time.sleep(2)


def _run_mount(*arguments: str) -> None:
    mounted = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if mounted.returncode:
        raise SkippedError(f"mount is not allowed here: {mounted.stderr.strip()}")
