"""Office files as programs and senders really write them, from the command line to storage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.support import compound_files as office
from tests.support import old_workbooks as old
from tests.support.esteira import Installation
from tests.support.raw_zip import STREAMED, Entry, archive
from tests.support.samples import sample, stored

TYPES = Entry("[Content_Types].xml", office.CONTENT_TYPES.format(main=office.WORD_MAIN).encode())
DOCUMENT = Entry(r"word\document.xml", office.DOCUMENT.encode(), flags=STREAMED, local_size=0)
ACCEPTED: dict[str, tuple[Callable[[], bytes], str, list[str]]] = {  # by name: content, extension, flags
    "barras.docx": (lambda: archive([TYPES, DOCUMENT], behind=b"\r\n"), "docx", []),
    "horas.xls": (lambda: old.sheet(4), "xls", []),
    "curto.xls": (lambda: sample("xls/xlwt")[:-200], "xls", []),
    "senha.xls": (lambda: stored("locked.xlsx"), "xlsx", ["encrypted"]),
}
REFUSED: dict[str, tuple[Callable[[], bytes], str, str]] = {  # by name: content, code, words of the message
    "dobro.docx": (
        lambda: archive([TYPES, DOCUMENT, Entry("word/Document.xml", b"<a/>")]),
        "broken",
        "two entries of the same name",
    ),
    "modelo.docx": (lambda: sample("dotx/retyped"), "type_mismatch", "wordprocessingml.template"),
    "senha": (lambda: stored("locked.docx"), "type_not_allowed", "an encrypted Office document"),
    "slides.ppt": (lambda: office.ole({"PP40": b"x"}), "type_not_allowed", "PowerPoint 95 or before"),
}


def written(folder: Path, makers: dict[str, Callable[[], bytes]]) -> list[Path]:
    for name, make in makers.items():
        (folder / name).write_bytes(make())
    return [folder / name for name in makers]


def test_office_files_that_office_opens_are_stored_unchanged(running: Installation, tmp_path: Path) -> None:
    files = written(tmp_path, {name: row[0] for name, row in ACCEPTED.items()})
    checked = running.run("check", *files)
    assert checked.code == 0, checked.out
    finished = running.run("submit", *files, "--session", "office", "--wait", "--json")
    assert finished.code == 0, finished.err
    records = {record["filename"]: record for record in finished.lines}
    for file in files:
        record, (_, ext, flags) = records[file.name], ACCEPTED[file.name]
        assert (record["status"], record["ext"], record["flags"]) == ("done", ext, flags)
        assert (running.folder / "media" / record["storage_key"]).read_bytes() == file.read_bytes()


def test_hostile_and_other_office_files_are_rejected_with_the_reason(running: Installation, tmp_path: Path) -> None:
    files = written(tmp_path, {name: row[0] for name, row in REFUSED.items()})
    assert running.run("check", *files).code == 1
    finished = running.run("submit", *files, "--session", "hostile", "--wait", "--json")
    assert finished.code == 1
    for record in finished.lines:
        _, code, reason = REFUSED[record["filename"]]
        assert (record["status"], record["error_code"]) == ("rejected", code)
        assert reason in record["error"]
