"""Faults of what stands around: disks, the catalogue's file, receiver, source and senders. Each is one round."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

from scripts.faults.site import ROOT, Site

DISK_MB = 3


class SkippedError(Exception):
    """Raised by a fault that this machine does not allow; the message says why."""


def fill_storage(site: Site, _turn: int) -> None:
    _fill(site, site.folder / "var" / "media")


def fill_staging(site: Site, _turn: int) -> None:
    _fill(site, site.folder / "var" / "staging")


def lock_the_catalogue(site: Site, turn: int) -> None:
    """A writer that holds the whole file, for less and for more than the product waits for it."""
    with closing(sqlite3.connect(site.folder / "var" / "esteira.db", timeout=30, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        time.sleep((3, 12, 30)[turn % 3])
        connection.execute("ROLLBACK")
    time.sleep(site.chance.uniform(3, 6))


def deafen_the_receiver(site: Site, turn: int) -> None:
    """Connections reset, 500, or three seconds for each answer; shorter than the three attempts take together."""
    site.around.mood = ("deaf", "refusing", "slow")[turn % 3]
    time.sleep(4)
    site.around.mood = "well"
    time.sleep(site.chance.uniform(2, 5))


def lose_the_receiver(site: Site, turn: int) -> None:
    """Away for longer than the attempts last: what was given up is listed, and a replay announces it."""
    site.around.mood = ("deaf", "refusing")[turn % 2]
    time.sleep(20)
    site.around.mood = "well"
    time.sleep(10)
    replay = ["replay", "--status", "failed", "--error", "notify", "--yes"]
    replayed = subprocess.run(
        [str(Path(sys.executable).parent / "esteira"), *replay],
        cwd=ROOT,
        env=site.part("web").env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if replayed.returncode:
        site.marks.broken.append(f"replay: {replayed.stdout[-200:]}{replayed.stderr[-200:]}")


def trouble_the_source(site: Site, _turn: int) -> None:
    """30 % of the downloads go wrong in one of five ways; 2.7 % of the files have that three times over."""
    site.around.trouble = 0.3
    time.sleep(10)
    site.around.trouble = 0.0
    time.sleep(2)


def crash_decoders(_site: Site, _turn: int) -> None:
    """Nothing is done to the plant: a fifth of its files crash their decoder in one of four ways."""
    time.sleep(6)


def repeat_messages(site: Site, turn: int) -> None:
    """One message a hundred times at once, and old ones again; every other time after Redis has lost everything."""
    if turn % 2:
        site.valkey.client().flushall()
    site.load.repeat(100)
    for _ in range(20):
        site.load.again()
    time.sleep(3)


def flood(site: Site, _turn: int) -> None:
    """Ten times the load for five seconds."""
    usual = site.load.rate
    site.load.rate = usual * 10
    time.sleep(5)
    site.load.rate = usual
    time.sleep(10)


def do_nothing(_site: Site, _turn: int) -> None:
    time.sleep(5)


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


def _mount(site: Site, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part in site.parts:
        part.held = True
    for part in site.parts:
        part.stop()
    kept = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB * 20}m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        raise SkippedError(f"mount is not allowed here: {mounted.stderr.strip()}")
    site.mounts.append(folder)
    for name, content in kept.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    for part in site.parts:
        part.held = False
    site.plant.wait_until_ready()
    time.sleep(2)
