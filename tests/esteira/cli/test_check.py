"""`esteira check`: one line of JSON per file, without a queue or a database."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.support.cli_forkserver import CliForkserver
from tests.support.esteira import Installation, new_installation

FIELDS = ["path", "verdict", "kind", "mime", "ext", "error_code", "error"]


@pytest.fixture
def offline(forkserver: CliForkserver) -> Iterator[Installation]:
    """An installation whose Redis and database do not exist."""
    with new_installation(
        forkserver, REDIS_URL="redis://127.0.0.1:1/0", DATABASE_URL="postgresql://127.0.0.1:1/none"
    ) as installation:
        yield installation


def test_check_prints_one_line_per_file_in_order(offline: Installation, tmp_path: Path) -> None:
    names = [tmp_path / name for name in ("a.png", "b.jpg", "empty.jpg", "missing.jpg", "page.jpg")]
    Image.new("RGB", (40, 30), "teal").save(names[0])
    Image.new("RGB", (40, 30), "teal").save(names[1], "JPEG")
    names[2].touch()
    names[4].write_text("<!doctype html><html><body>Hello</body></html>")
    finished = offline.run("check", *names, tmp_path)
    assert finished.code == 1
    assert [list(line) for line in finished.lines] == [FIELDS] * 6
    assert [line["path"] for line in finished.lines] == [*map(str, names), str(tmp_path)]
    assert [line["verdict"] for line in finished.lines] == ["accept", "accept", *["reject"] * 4]
    codes = [None, None, "empty", "no_source", "type_not_allowed", "no_source"]
    assert [line["error_code"] for line in finished.lines] == codes
    first = finished.lines[0]
    assert (first["kind"], first["mime"], first["ext"]) == ("image", "image/png", "png")


def test_check_exits_0_if_all_files_are_accepted(offline: Installation, tmp_path: Path) -> None:
    file = tmp_path / "sticker.webp"
    Image.new("RGB", (512, 512), "teal").save(file)
    finished = offline.run("check", file, "--kind", "sticker", "--json")
    assert finished.code == 0
    assert finished.lines[0]["kind"] == "sticker"
    assert finished.err == ""


def test_check_does_not_hang_on_a_pipe(offline: Installation, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert offline.run("check", pipe, timeout=20).lines[0]["error_code"] == "no_source"


def test_check_escapes_file_names_that_are_not_utf_8(offline: Installation, tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode(b"caf\xe9 \xc3\xa9.png")
    Image.new("RGB", (40, 30), "teal").save(file, "PNG")
    finished = offline.run("check", file)
    assert finished.code == 0, finished.err
    assert finished.lines[0]["path"] == str(file)
    assert "caf\\udce9 é.png" in finished.out
