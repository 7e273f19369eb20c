"""The spool keeps hand-overs within its limits."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path

import pytest

from esteira_client import OptionError, SpoolError, SpoolFullError, SpoolOptions
from esteira_client.messages import hand_over_of
from esteira_client.spool import Spool
from esteira_client.spool_lock import STALE_S, SpoolLock

MESSAGE = {"message_id": "m1", "url": "https://media.example/x", "kind": "image", "media_key": b"\x01" * 32}


def test_spool_keeps_order_and_content(folder: Path) -> None:
    spool = Spool(SpoolOptions(folder))
    names = [spool.store(hand_over_of({**MESSAGE, "message_id": f"m{number}"}, "shop")) for number in range(20)]
    assert Spool(SpoolOptions(folder)).names() == names
    entry = spool.load(names[3])
    assert entry is not None
    sent = hand_over_of({**MESSAGE, "message_id": "m3"}, "shop")
    assert (entry.sent.path, entry.sent.id, json.loads(entry.sent.json)) == (
        sent.path,
        sent.id,
        json.loads(sent.json),
    )


def test_spool_is_private(folder: Path) -> None:
    name = Spool(SpoolOptions(folder)).store(hand_over_of({"message_id": "m1"}, "shop", b"bytes"))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.glob(name[:-5] + ".*")} == {0o600}


def test_spool_keeps_the_bytes_of_a_file(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"jpeg" * 1000)
    spool = Spool(SpoolOptions(folder))
    name = spool.store(hand_over_of({"message_id": "m1", "filename": "photo.jpg"}, "shop", tmp_path / "photo.jpg"))
    (tmp_path / "photo.jpg").unlink()
    entry = spool.load(name)
    assert entry
    assert isinstance(entry.sent.file, Path)
    assert (entry.sent.file.read_bytes(), entry.sent.filename) == (b"jpeg" * 1000, "photo.jpg")
    spool.remove(name)
    assert [path.name for path in folder.iterdir()] == ["aside"]


def test_spool_reads_the_entries_of_the_client_for_node(folder: Path) -> None:
    folder.mkdir()
    entry = {"v": 1, "path": "/hooks/media", "id": "a" * 32, "message_id": "m1", "at": 1796125205099}
    file = {"name": "1796125205099-661ec711-000002.bin", "size": 5}
    text = {**entry, "fields": {"message_id": "m1", "session": "shop"}, "file": file}
    (folder / "1796125205099-661ec711-000001.json").write_text(json.dumps({**entry, "body": {"message_id": "m1"}}))
    (folder / "1796125205099-661ec711-000002.json").write_text(json.dumps(text))
    (folder / file["name"]).write_bytes(b"bytes")
    spool = Spool(SpoolOptions(folder))
    first, second = (spool.load(name) for name in spool.names())
    assert first
    assert second
    assert (first.sent.body, second.sent.file) == ({"message_id": "m1"}, folder / file["name"])


@pytest.mark.parametrize("limits", [{"max_entries": 2}, {"max_bytes": 700}])
def test_spool_refuses_what_exceeds_its_limits(folder: Path, limits: dict[str, int]) -> None:
    spool = Spool(SpoolOptions(folder, **limits))
    spool.store(hand_over_of(MESSAGE, "shop"))
    spool.store(hand_over_of(MESSAGE, "shop"))
    with pytest.raises(SpoolFullError, match=next(iter(limits))):
        spool.store(hand_over_of(MESSAGE, "shop"))
    assert len(spool.names()) == 2


def test_spool_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match="Not a directory") as caught:
        Spool(SpoolOptions(tmp_path / "file" / "spool")).store(hand_over_of(MESSAGE, "shop"))
    assert caught.value.code == "spool_failed"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"v": 2}', b'{"v": 1, "path": "/media", "body": {}, "at": 1}'])
def test_damaged_entry_is_recognized(folder: Path, content: bytes) -> None:
    spool = Spool(SpoolOptions(folder))
    name = spool.store(hand_over_of(MESSAGE, "shop"))
    (folder / name).write_bytes(content)
    with pytest.raises(SpoolError) as caught:
        spool.load(name)
    assert caught.value.code == "spool_damaged"
    spool.move_aside(name)
    assert (spool.names(), [path.name for path in spool.aside.iterdir()]) == ([], [name])


def test_leftovers_of_killed_processes_are_removed(folder: Path) -> None:
    spool = Spool(SpoolOptions(folder))
    name = spool.store(hand_over_of({"message_id": "m1"}, "shop", b"bytes"))
    killed = "1796125205099-661ec711-00000"
    others = ["config.json", "firmware.bin", "draft.tmp"]
    for leftover in (f"{killed}1.json.tmp", f"{killed}2.bin.tmp", f"{killed}3.bin", "lock-661ec711.tmp", *others):
        (folder / leftover).write_text("")
        os.utime(folder / leftover, (time.time() - 7200,) * 2)
    os.utime(folder / f"{name[:-5]}.bin", (time.time() - 7200,) * 2)
    spool.remove_leftovers()
    assert sorted(path.name for path in folder.iterdir()) == sorted([f"{name[:-5]}.bin", name, "aside", *others])
    assert spool.names() == [name]


def test_one_of_several_processes_has_the_lock(folder: Path) -> None:
    folder.mkdir()
    first, second = SpoolLock(folder), SpoolLock(folder)
    assert (first.acquire(), second.acquire(), first.acquire()) == (True, False, True)
    first.release()
    assert second.acquire()


def test_lock_of_a_dead_process_is_taken_over(folder: Path) -> None:
    folder.mkdir()
    dead, heir = SpoolLock(folder), SpoolLock(folder)
    dead.acquire()
    os.utime(folder / "lock", (time.time() - STALE_S - 1,) * 2)
    assert heir.acquire()
    assert not dead.renew()
    dead.release()
    assert heir.renew()


def test_limits_are_above_zero() -> None:
    with pytest.raises(OptionError, match="max_bytes"):
        SpoolOptions(max_bytes=0)
