"""The intake spool's folder: order, limits, damage, and several processes."""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import PayloadError
from pipeline.intake_spool import DamagedEntryError, EntryName, IntakeSpool, SpoolUnavailableError
from pipeline.intake_spool.entry import encode_entry, read_entry
from pipeline.security.encryption import SourceCipher
from tests.support.catalogues import MEDIA_KEY, Clock, attachment
from tests.support.disks import fill_disk, small_disk

KEYS = ("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", "YWJjZGVmZ2hpamFiY2RlZmdoaWphYmNkZWZnaGlqMDE=")
BLOCK = 4096


def spool_in(folder: Path, *, keys: tuple[str, ...] = (), blocks: int = 100, clock: Clock | None = None) -> IntakeSpool:
    return IntakeSpool(folder, SourceCipher(keys), max_bytes=blocks * BLOCK, max_age_s=3600, clock=clock or time.time)


def read_all(spool: IntakeSpool) -> list[str]:
    return [spool.read(name).attachment.message_id for name in spool.names()]


def test_entries_keep_their_order_across_processes_and_clock_changes(tmp_path: Path) -> None:
    clock = Clock()
    for number in range(6):
        clock.now += -3600 if number == 3 else 0.5
        spool_in(tmp_path / "spool", clock=clock).add(attachment(message_id=f"m{number}"))  # as another process
    assert read_all(spool_in(tmp_path / "spool")) == [f"m{number}" for number in range(6)]


def test_entry_returns_the_attachment_with_its_bytes(tmp_path: Path) -> None:
    spool = spool_in(tmp_path / "spool")
    original = attachment(media_key="a-key", caption="olá", identity="i", from_history=True)
    spool.add(original, [b"first ", b"second"])
    spool.add(attachment(), None)
    with_bytes, without = (spool.read(name) for name in spool.names())
    assert with_bytes.attachment == original
    assert with_bytes.file
    assert with_bytes.file.read_bytes() == b"first second"
    assert without.file is None
    assert spool.status().entries == 2


def test_files_are_private_and_secrets_encrypted(tmp_path: Path) -> None:
    os.umask(0)
    spool = spool_in(tmp_path / "deep" / "spool", keys=KEYS)
    spool.add(attachment(media_key=MEDIA_KEY, url="https://media.example/x?sig=of-the-source"), [b"x"])
    paths = [tmp_path / "deep", spool.folder, *spool.folder.iterdir()]
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in paths} == {0}
    written = b"".join(path.read_bytes() for path in spool.folder.iterdir())
    assert MEDIA_KEY.encode() not in written
    assert b"of-the-source" not in written
    assert spool.read(spool.names()[0]).attachment.media_key == MEDIA_KEY


def test_full_spool_refuses_until_an_entry_is_removed(tmp_path: Path) -> None:
    spool = spool_in(tmp_path / "spool", blocks=3)
    spool.add(attachment())
    spool.add(attachment(), [b"x"])  # two files
    with pytest.raises(SpoolUnavailableError, match="is full: INTAKE_SPOOL_MB"):
        spool.add(attachment())
    spool.remove(spool.names()[0])
    spool.add(attachment())
    assert spool.status().size_bytes == 3 * BLOCK
    assert not [path for path in spool.folder.iterdir() if path.name.startswith(".part")]


def test_bytes_without_room_are_not_written(tmp_path: Path) -> None:
    chunks = iter([b"x"])
    with pytest.raises(SpoolUnavailableError):
        spool_in(tmp_path / "spool", blocks=3).add(attachment(), chunks, size_hint=4 * BLOCK)
    assert next(chunks) == b"x"


def test_spool_with_an_old_entry_takes_no_more_and_keeps_it(tmp_path: Path) -> None:
    clock = Clock()
    spool_in(tmp_path / "spool", clock=clock).add(attachment(message_id="old"))
    clock.now += 3601
    with pytest.raises(SpoolUnavailableError, match="older than INTAKE_SPOOL_HOURS, 1"):
        spool_in(tmp_path / "spool", clock=clock).add(attachment())
    spool = spool_in(tmp_path / "spool", clock=clock)
    assert read_all(spool) == ["old"]
    assert spool.status().oldest_s == pytest.approx(3601)


def test_invalid_base64_leaves_nothing(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"x"
        raise PayloadError("data", "is not base64")

    spool = spool_in(tmp_path / "spool")
    with pytest.raises(PayloadError):
        spool.add(attachment(), chunks())
    assert spool.status().size_bytes == 0
    assert {path.name for path in spool.folder.iterdir()} == {".usage"}


def test_full_disk_refuses_and_leaves_no_part(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", megabytes=1) as disk:
        spool = spool_in(disk / "spool", blocks=10_000)
        spool.add(attachment(message_id="first"))
        ballast = fill_disk(disk)
        with pytest.raises(SpoolUnavailableError, match="No space left on device"):
            spool.add(attachment(), [b"x" * 100_000])
        assert read_all(spool) == ["first"]
        ballast.unlink()
        spool.add(attachment(message_id="second"), [b"x" * 100_000])
        assert read_all(spool) == ["first", "second"]
        assert not [path for path in spool.folder.iterdir() if path.name.startswith(".part")]


def test_folder_that_cannot_be_made_is_a_fault_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    spool = spool_in(tmp_path / "file" / "spool")
    assert spool.fault() == f"{tmp_path / 'file'} is not a directory"
    with pytest.raises(SpoolUnavailableError, match="cannot be written"):
        spool.add(attachment())
    assert spool.names() == []
    assert spool_in(tmp_path / "not" / "yet").fault() is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_of_another_user_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir(mode=0o500)
    assert "is not writable: Permission denied" in str(spool_in(tmp_path / "spool").fault())


def damage(spool: IntakeSpool, how: str) -> None:
    file = spool.folder / spool.names()[0].file
    fields = json.loads(file.read_text())
    if how == "cut":
        file.write_bytes(file.read_bytes()[:-9])
    elif how == "empty":
        file.write_bytes(b"")
    elif how == "binary":
        file.write_bytes(b"\xff\x00" * 99)
    elif how == "list":
        file.write_text("[1]")
    elif how == "changed":
        file.write_text(json.dumps(fields | {"source": fields["source"].replace("media.example", "media.examp1e")}))
    elif how == "newer":
        file.write_text(json.dumps(fields | {"version": 99}))
    elif how == "bytes":
        (spool.folder / spool.names()[0].bytes_file).unlink()
    else:
        file.rename(file.with_name(file.name.replace("-", "-0", 1)[:-6] + ".json"))


HOW = ("cut", "empty", "binary", "list", "changed", "newer", "bytes", "renamed")


@pytest.mark.parametrize("how", HOW)
def test_damaged_entry_is_reported_and_set_aside(tmp_path: Path, how: str) -> None:
    spool = spool_in(tmp_path / "spool")
    spool.add(attachment(), [b"x"])
    spool.add(attachment(message_id="good"))
    damage(spool, how)
    [name, _] = spool.names()
    with pytest.raises(DamagedEntryError) as caught:
        spool.read(name)
    assert "back into the spool" in caught.value.remedy
    assert spool.set_aside(name) == spool.folder / "damaged" / name.file
    assert read_all(spool) == ["good"]
    assert (spool.status().entries, spool.status().damaged) == (1, 1)


def test_entry_of_a_removed_key_returns_when_the_key_does(tmp_path: Path) -> None:
    spool_in(tmp_path / "spool", keys=KEYS[:1]).add(attachment(message_id="m"))
    other = spool_in(tmp_path / "spool", keys=KEYS[1:])
    [name] = other.names()
    with pytest.raises(DamagedEntryError, match="which is not set") as caught:
        other.read(name)
    assert caught.value.remedy.startswith("set the key")
    path = other.set_aside(name)
    path.rename(other.folder / path.name)
    assert read_all(spool_in(tmp_path / "spool", keys=KEYS)) == ["m"]


def test_count_is_repaired_and_leftovers_removed_by_the_next_process(tmp_path: Path) -> None:
    spool = spool_in(tmp_path / "spool")
    spool.add(attachment())
    (spool.folder / ".usage").write_text("9999999999999999 00000000000000000007 00000000000000000000\n")
    old, orphan, young = (spool.folder / name for name in (".part-old", f"{'1' * 16}-{'a' * 32}.bytes", ".part-young"))
    for path in (old, orphan, young):
        path.write_bytes(b"x")
    for path in (old, orphan):
        os.utime(path, (0, 0))
    later = spool_in(tmp_path / "spool")
    later.add(attachment())
    assert later.status()[:2] == (2, 2 * BLOCK)
    assert later.names()[-1].sequence == 10**16  # after the newest one that was ever counted
    assert [path.exists() for path in (old, orphan, young)] == [False, False, True]


def add_many(folder: str, start: int) -> None:
    spool = spool_in(Path(folder), blocks=1000)
    for number in range(20):
        spool.add(attachment(message_id=f"{start}-{number}"), [b"x"] if number % 3 == 0 else None)


def test_threads_and_processes_share_the_spool(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=add_many, args=(str(tmp_path), start)) for start in range(3)]
    for child in children:
        child.start()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add_many, [str(tmp_path)] * 4, range(3, 7)))
    for child in children:
        child.join(30)
        assert child.exitcode == 0
    spool = spool_in(tmp_path)
    ids = read_all(spool)
    assert len(ids) == len(set(ids)) == 140
    for start in range(7):
        own = [text for text in ids if text.startswith(f"{start}-")]
        assert own == [f"{start}-{number}" for number in range(20)]
    counted = spool.status().size_bytes
    spool.remove(spool.names()[-1])  # counts anew
    assert counted == (140 + 7 * 7) * BLOCK


def test_one_process_at_a_time_has_the_turn(tmp_path: Path) -> None:
    first, second = spool_in(tmp_path), spool_in(tmp_path)
    with first.turn() as mine, second.turn() as theirs:
        assert (mine, theirs) == (True, False)
    with second.turn() as theirs:
        assert theirs


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30).filter(str.strip)


@given(text=TEXTS, part=st.integers(0, 9))
def test_any_attachment_survives_the_form_of_an_entry(
    tmp_path_factory: pytest.TempPathFactory, text: str, part: int
) -> None:
    folder, cipher = tmp_path_factory.getbasetemp(), SourceCipher()
    original = attachment(message_id=text, caption=text, part=part)
    name = EntryName(1, original.id)
    (folder / name.file).write_bytes(encode_entry(original, cipher, size=None))
    assert read_entry(folder, name, cipher).attachment == original
    (folder / name.file).unlink()
