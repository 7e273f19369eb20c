"""Pictures and films that viewers show whole, and encrypted ones, from the command line to storage and preview."""

from __future__ import annotations

from pathlib import Path

from tests.support.encrypted_media import cenc_sound, cenc_video
from tests.support.esteira import Installation
from tests.support.odd_pictures import ANCILLARY, SHOWN_WHOLE, bad_crc, movie_behind, without_end
from tests.support.samples import png_by_hand

ACCEPTED = {
    **{
        f"{label.replace('/', '-')}.{label.partition('/')[0]}": make
        for label, make in SHOWN_WHOLE.items()
        if label.partition("/")[0] in {"jpeg", "png", "webp", "gif", "heic", "mov", "wav"}
    },
    "crc.png": lambda: png_by_hand(chunks=bad_crc(b"pHYs", ANCILLARY[b"pHYs"])),
}
ENCRYPTED = {"filme.mp4": cenc_video, "musica.m4a": cenc_sound}
BROKEN = {
    "metade.jpeg": lambda: without_end(size=(320, 240))[:-400],
    "zeros.jpeg": lambda: without_end(size=(320, 240))[:-400] + bytes(400),
    "vazio.mov": lambda: movie_behind(b"skip")[:200],
}


def test_what_viewers_show_whole_is_stored_unchanged(running: Installation, tmp_path: Path) -> None:
    files = {name: make() for name, make in {**ACCEPTED, **ENCRYPTED}.items()}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    finished = running.run("submit", *(tmp_path / name for name in files), "--session", "odd", "--wait", "--json")
    assert finished.code == 0, finished.err
    for record in finished.lines:
        name = record["filename"]
        assert (record["status"], record["ext"]) == ("done", name.rpartition(".")[2])
        assert record["flags"] == (["encrypted"] if name in ENCRYPTED else [])
        assert (running.folder / "media" / record["storage_key"]).read_bytes() == files[name]


def test_what_lacks_pixels_is_broken_all_the_same(running: Installation, tmp_path: Path) -> None:
    for name, make in BROKEN.items():
        (tmp_path / name).write_bytes(make())
    finished = running.run("submit", *(tmp_path / name for name in BROKEN), "--session", "cut", "--wait", "--json")
    endings = {record["filename"]: (record["status"], record["error_code"]) for record in finished.lines}
    assert endings["metade.jpeg"] == endings["zeros.jpeg"] == ("rejected", "broken")
    assert endings["vazio.mov"][0] == "rejected"
