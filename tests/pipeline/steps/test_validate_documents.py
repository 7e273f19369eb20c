"""The step validate: valid and hostile PDF, OLE and OPC documents, text and RTF."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import Code
from pipeline.media_types.documents.pdf import MAX_MAPPED_BYTES
from pipeline.media_types.limits import rules_from
from tests.support import compound_files as office
from tests.support import hostile_files as hostile
from tests.support.checking import ALL_TYPES, Checker, checker, sandbox, settings
from tests.support.samples import pdf_by_hand, sample, stored, xls_by_library

__all__ = ["checker", "sandbox"]

REFUSE = settings(active_documents="reject")
DOCX = {"filename": "a.docx", "kind": "document"}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(hostile.xml_bomb, id="entities"),
        pytest.param(lambda: hostile.xml_bomb(hostile.EXTERNAL), id="external entity"),
        pytest.param(hostile.content_types_bomb, id="content types"),
        pytest.param(lambda: hostile.zip_that_hides(5000, 4000), id="more bytes than declared"),
        pytest.param(lambda: hostile.zip_that_hides(50_000_000, 40_000), id="far more bytes than declared"),
        pytest.param(hostile.zip_with_other_local_size, id="headers differ"),
        pytest.param(hostile.zip_with_two_ends, id="two end records"),
        pytest.param(lambda: office.package() + office.package(), id="two archives"),
        pytest.param(hostile.encrypted_zip, id="encrypted"),
        pytest.param(lambda: hostile.overlapping_zip(5), id="overlapping, small"),
        pytest.param(lambda: sample("docx/python-docx")[:-100], id="cut off"),
        pytest.param(lambda: office.package(document="<w:document>"), id="main part is not well formed"),
        pytest.param(
            lambda: office.zipped({"[Content_Types].xml": office.CONTENT_TYPES.format(main=office.WORD_MAIN).encode()}),
            id="no main part",
        ),
    ],
)
def test_inconsistent_packages_are_broken(checker: Checker, content: Any) -> None:
    start = time.monotonic()
    assert checker.error_code(content(), **DOCX) == Code.BROKEN
    assert time.monotonic() - start < 3


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(lambda: office.package({"word/media/x.bin": bytes(30_000_000)}), id="single entry"),
        pytest.param(lambda: office.package({f"word/{n}.xml": b"" for n in range(10_001)}), id="entries"),
        pytest.param(lambda: hostile.nested_zip(4), id="archives within archives"),
        pytest.param(lambda: hostile.overlapping_zip(3000), id="overlapping"),
        pytest.param(lambda: office.zipped({"a.bin": bytes(30_000_000)}), id="no package at all"),
    ],
)
def test_archive_bombs_are_refused(checker: Checker, content: Any) -> None:
    body = content()
    start = time.monotonic()
    assert checker.error_code(body, **DOCX) == Code.EXPANDS_TOO_FAR
    assert time.monotonic() - start < 3


def test_expansion_ratio_and_entry_limits_are_settings(checker: Checker) -> None:
    repetitive = office.package({"word/media/x.bin": bytes(2_000_000)})
    assert checker.error_code(repetitive, **DOCX) == Code.EXPANDS_TOO_FAR
    assert checker.error_code(repetitive, settings=settings(max_expansion_ratio=2000), **DOCX) is None
    assert checker.error_code(office.package({"word/a.xml": b"<a/>"}), settings=settings(max_entries=3), **DOCX) is None
    assert (
        checker.error_code(office.package({"word/a.xml": b"<a/>"}), settings=settings(max_entries=2), **DOCX)
        == Code.EXPANDS_TOO_FAR
    )


def test_a_package_within_a_package_is_accepted(checker: Checker) -> None:
    content = office.package({"word/embeddings/sheet.xlsx": sample("xlsx/openpyxl")})
    assert checker.error_code(content, **DOCX) is None


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "C:/x", "..\\x", "word/../../../x"])
def test_archive_names_that_lead_out_of_the_archive_are_refused(checker: Checker, name: str) -> None:
    assert checker.error_code(office.package({name: b"x"}), **DOCX) == Code.TYPE_NOT_ALLOWED
    assert not (checker.folder.parent / "x").exists()


def test_an_archive_with_a_symbolic_link_is_refused(checker: Checker) -> None:
    assert checker.error_code(hostile.zip_with_link(), **DOCX) == Code.TYPE_NOT_ALLOWED


def test_macros_are_found_in_a_package_that_does_not_declare_them(checker: Checker) -> None:
    content = office.package({"word/vbaProject.bin": b"macros"})
    assert checker.check(content, **DOCX).facts.flags == ("macros",)
    assert checker.error_code(content, settings=REFUSE, **DOCX) == Code.ACTIVE_CONTENT


@pytest.mark.parametrize(
    "name", ["locked.doc", "locked.xls", "locked.docx", "locked.xlsx", "locked.pptx", "locked.pdf", "restricted.pdf"]
)
def test_encrypted_documents_are_flagged_or_refused_by_setting(checker: Checker, name: str) -> None:
    assert checker.check(stored(name), filename=name).facts.flags == ("encrypted",)
    assert checker.error_code(stored(name), filename=name, settings=REFUSE) == Code.ACTIVE_CONTENT


ENCRYPTED = {
    "doc": {"WordDocument": office.word_stream(encrypted=True)},
    "xls": {"Workbook": office.workbook_stream(encrypted=True)},
    "ppt": {"Current User": office.current_user_stream(encrypted=True), "PowerPoint Document": b"x"},
}


@pytest.mark.parametrize("ext", ENCRYPTED)
def test_encryption_is_detected_in_every_ole_type(checker: Checker, ext: str) -> None:
    validated = checker.check(office.ole(ENCRYPTED[ext]), settings=ALL_TYPES)
    assert (validated.detected.ext, validated.facts.flags) == (ext, ("encrypted",))


@pytest.mark.parametrize("storage", ["Macros", "_VBA_PROJECT_CUR", "VBA"])
def test_macros_are_found_in_an_ole_document(checker: Checker, storage: str) -> None:
    content = office.ole({"WordDocument": office.word_stream()}, storages=(storage,))
    assert checker.check(content).facts.flags == ("macros",)
    assert checker.error_code(content, settings=REFUSE) == Code.ACTIVE_CONTENT


@pytest.mark.parametrize(
    ("name", "ext"), [("WORKBOOK", "xls"), ("workbook", "xls"), ("WORDDOCUMENT", "doc"), ("BOOK", "xls")]
)
def test_ole_stream_names_are_compared_without_case(checker: Checker, name: str, ext: str) -> None:
    stream = office.word_stream() if ext == "doc" else office.workbook_stream()
    assert checker.check(office.ole({name: stream})).detected.ext == ext


def test_a_real_workbook_with_an_uppercase_stream_name_is_accepted(checker: Checker) -> None:
    content = sample("xls/xlwt").replace("Workbook".encode("utf-16-le"), "WORKBOOK".encode("utf-16-le"))
    assert content != sample("xls/xlwt")
    assert checker.check(content).detected.ext == "xls"


@pytest.mark.parametrize("ext", ["doc", "xls"])
def test_an_ole_directory_beyond_one_mebibyte_is_found(checker: Checker, ext: str) -> None:
    streams = {"WordDocument": office.word_stream()} if ext == "doc" else {"Workbook": office.workbook_stream()}
    content = office.ole(streams, padding=1_500_000)
    assert content.index("Root Entry".encode("utf-16-le")) > 1 << 20
    assert checker.check(content).detected.ext == ext


def test_a_large_real_workbook_is_accepted(checker: Checker) -> None:
    content = xls_by_library(rows=30_000)
    assert content.index("Root Entry".encode("utf-16-le")) > 1 << 20
    assert checker.check(content).detected.ext == "xls"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(hostile.ole_with_loop, id="sector loop"),
        pytest.param(hostile.ole_with_directory_loop, id="directory loop"),
        pytest.param(hostile.ole_of_two_gigabytes, id="2 GB declared"),
        pytest.param(lambda: stored("libreoffice.doc")[:5000], id="cut off"),
        pytest.param(lambda: office.ole({"WordDocument": b"nothing of Word"}), id="no Word within"),
        pytest.param(lambda: office.ole({"Workbook": b"nothing of Excel"}), id="no Excel within"),
    ],
)
def test_damaged_ole_documents_are_broken_in_little_time(checker: Checker, content: Any) -> None:
    start = time.monotonic()
    assert checker.error_code(content(), filename="a.doc") == Code.BROKEN
    assert time.monotonic() - start < 2


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(lambda: b"%PDF-1.7\n", id="header only"),
        pytest.param(lambda: b"%PDF-1.7\n" + b"junk " * 1000, id="junk"),
        pytest.param(lambda: sample("pdf/pillow")[:1500], id="cut off"),
        pytest.param(lambda: pdf_by_hand(pages=0), id="no pages"),
        pytest.param(
            lambda: (
                pdf_by_hand().replace(b"/Type /Catalog", b"/Type /Katalog").replace(b"/Pages 2 0 R", b"/Pages 9 0 R")
            ),
            id="no tree",
        ),
    ],
)
def test_damaged_pdfs_are_broken(checker: Checker, content: Any) -> None:
    assert checker.error_code(content(), filename="a.pdf") == Code.BROKEN


@pytest.mark.parametrize(
    ("content", "codes"),
    [
        pytest.param(hostile.pdf_page_loop, {None, Code.BROKEN}, id="page tree in a circle"),
        pytest.param(hostile.pdf_many_pages, {Code.TOO_MANY_PAGES, Code.BROKEN}, id="a million pages"),
        pytest.param(hostile.pdf_flate_bomb, {None, Code.TOO_COSTLY}, id="packed three times"),
        pytest.param(hostile.pdf_long_number, {None, Code.BROKEN}, id="a number of a million digits"),
    ],
)
def test_pdf_bombs_end_in_little_time(checker: Checker, content: Any, codes: set[Code | None]) -> None:
    body = content()
    start = time.monotonic()
    assert checker.error_code(body, filename="a.pdf") in codes
    assert time.monotonic() - start < 5


def test_page_limit_is_inclusive(checker: Checker) -> None:
    assert checker.error_code(pdf_by_hand(pages=4), settings=settings(max_pages=3)) == Code.TOO_MANY_PAGES
    assert checker.error_code(pdf_by_hand(pages=3), settings=settings(max_pages=3)) is None


def test_a_pdf_that_is_too_large_to_be_mapped_is_read(checker: Checker, tmp_path: Path) -> None:
    content, hole = pdf_by_hand(), MAX_MAPPED_BYTES
    table = content.index(b"xref\n")
    moved = content[table:].replace(b"startxref\n%d" % table, b"startxref\n%d" % (table + hole))
    path = tmp_path / "large.pdf"
    with path.open("wb") as file:
        file.write(content[:table])
        file.seek(table + hole)
        file.write(moved)
    limits = rules_from(settings()).limits_json
    facts = checker.sandbox.call("pipeline.media_types.documents.pdf:inspect", file=str(path), limits=limits)
    assert facts == {"pages": 2, "flags": []}


def test_a_pdf_with_javascript_is_flagged_or_refused(checker: Checker) -> None:
    script = "/Names << /JavaScript << /Names [(a) << /S /JavaScript /JS (app.alert(1)) >>] >> >>"
    content = pdf_by_hand(catalog=script)
    assert checker.check(content).facts.flags == ("javascript",)
    assert checker.error_code(content, settings=REFUSE) == Code.ACTIVE_CONTENT


def test_text_with_control_characters_is_refused(checker: Checker) -> None:
    text = b"a line of text\n" * 100_000
    assert checker.error_code(text, settings=ALL_TYPES) is None
    assert checker.error_code(text + b"\x01", settings=ALL_TYPES) in {Code.BROKEN, Code.TYPE_NOT_ALLOWED}
    assert checker.error_code("Olá\n".encode("utf-16") * 20, settings=ALL_TYPES, filename="a.txt") is None


def test_an_rtf_with_embedded_objects_is_flagged(checker: Checker) -> None:
    content = rb"{\rtf1\ansi {\object\objemb{\*\objdata 0105}}}"
    assert checker.check(content, settings=ALL_TYPES).facts.flags == ("objects",)
    assert checker.error_code(content[:-3], settings=ALL_TYPES) == Code.BROKEN
