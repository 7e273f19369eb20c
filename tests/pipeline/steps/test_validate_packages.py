"""The step validate: OPC packages with odd but valid archives, as Office reads them, and hostile variants of these."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Code
from pipeline.media_types.archives.zip_end import TAIL_BYTES, end_record
from tests.support import compound_files as office
from tests.support.checking import ALL_TYPES, Checker, checker, error_code_of, sandbox, settings
from tests.support.raw_zip import IN_EXTRA, STREAMED, Entry, archive, zip64_sizes
from tests.support.samples import sample

__all__ = ["checker", "sandbox"]

DOCX = {"filename": "a.docx", "kind": "document"}
REFUSE = settings(active_documents="reject")
TYPES = Entry("[Content_Types].xml", office.CONTENT_TYPES.format(main=office.WORD_MAIN).encode())
RELATIONSHIPS = (
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" '
    'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="{target}"/>'
    "</Relationships>"
)
RELS = Entry("_rels/.rels", RELATIONSHIPS.format(target="word/document.xml").encode())
DOCUMENT = Entry("word/document.xml", office.DOCUMENT.encode())
PARTS = (TYPES, RELS, DOCUMENT)
DECLARATION = '<Override PartName="/word/document.xml"'


def with_types(text: str, *entries: Entry) -> bytes:
    return archive([replace(TYPES, content=text.format(main=office.WORD_MAIN).encode()), *entries])


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param(
            [TYPES, replace(RELS, name=r"_rels\.rels"), replace(DOCUMENT, name=r"word\document.xml")], id="\\"
        ),
        pytest.param([replace(entry, name=entry.name.upper()) for entry in PARTS], id="capitals"),
        pytest.param([replace(entry, name=entry.name.lower()) for entry in PARTS], id="small letters"),
        pytest.param([TYPES, RELS, replace(DOCUMENT, local_name=r"Word\Document.xml")], id="local names differ"),
        pytest.param(
            [TYPES, replace(RELS, content=RELATIONSHIPS.format(target=r"\Word\Document.xml").encode()), DOCUMENT],
            id="target of a relationship",
        ),
        pytest.param(
            [TYPES, replace(RELS, content=RELATIONSHIPS.format(target="./word/document.xml").encode()), DOCUMENT],
            id="relative target",
        ),
        pytest.param([Entry("word/", b""), *PARTS, Entry("WORD/", b"")], id="folders"),
    ],
)
def test_part_names_are_compared_without_case_and_with_either_slash(checker: Checker, entries: list[Entry]) -> None:
    assert checker.check(archive(entries), **DOCX).detected.ext == "docx"


def test_content_types_name_parts_with_either_slash(checker: Checker) -> None:
    types = office.CONTENT_TYPES.replace("/word/document.xml", r"\Word\document.XML")
    assert checker.check(with_types(types, DOCUMENT), **DOCX).detected.ext == "docx"


@pytest.mark.parametrize("name", [r"word\document.xml", "Word/Document.xml", "word/document.xml"])
def test_two_entries_for_one_part_are_refused(checker: Checker, name: str) -> None:
    decoy = Entry(name, office.DOCUMENT.replace("<w:p/>", "<w:p><w:r/></w:p>").encode())
    for entries in ([*PARTS, decoy], [TYPES, RELS, decoy, DOCUMENT]):
        assert checker.error_code(archive(entries), **DOCX) == Code.BROKEN


def test_a_local_name_of_another_part_is_refused(checker: Checker) -> None:
    content = archive([TYPES, RELS, replace(DOCUMENT, local_name="word/settings.xml")])
    assert checker.error_code(content, **DOCX) == Code.BROKEN


@pytest.mark.parametrize("name", [r"..\x", r"word\..\..\x", r"\x", r"C:\x", "word/..\\../x"])
def test_names_with_backslashes_that_lead_out_are_refused(checker: Checker, name: str) -> None:
    assert checker.error_code(archive([*PARTS, Entry(name, b"x")]), **DOCX) == Code.TYPE_NOT_ALLOWED


STREAMS = [
    pytest.param({"local_packed": 0, "local_size": 0}, id="both sizes"),
    pytest.param({"local_packed": 0}, id="packed size"),
    pytest.param({"local_size": 0}, id="unpacked size"),
    pytest.param(
        {"local_packed": IN_EXTRA, "local_size": IN_EXTRA, "local_extra": zip64_sizes(packed=0, size=0)}, id="zip64"
    ),
    pytest.param(
        {
            "local_packed": IN_EXTRA,
            "local_size": IN_EXTRA,
            "local_extra": zip64_sizes(packed=0, size=len(DOCUMENT.content)),
        },
        id="zip64, packed size",
    ),
]


@pytest.mark.parametrize("fields", STREAMS)
def test_sizes_of_a_streamed_entry_may_be_zero_in_its_header(checker: Checker, fields: dict[str, int]) -> None:
    streamed = replace(DOCUMENT, flags=STREAMED, **fields)
    assert checker.check(archive([TYPES, RELS, streamed]), **DOCX).detected.ext == "docx"
    assert checker.error_code(archive([TYPES, RELS, replace(streamed, flags=0)]), **DOCX) == Code.BROKEN


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"local_size": 7}, id="unpacked size"),
        pytest.param({"local_packed": 7, "local_size": 0}, id="packed size"),
        pytest.param(
            {"local_packed": IN_EXTRA, "local_size": IN_EXTRA, "local_extra": zip64_sizes(packed=7, size=0)}, id="zip64"
        ),
    ],
)
def test_other_sizes_in_the_header_of_a_streamed_entry_are_refused(checker: Checker, fields: dict[str, int]) -> None:
    content = archive([TYPES, RELS, replace(DOCUMENT, flags=STREAMED, **fields)])
    assert checker.error_code(content, **DOCX) == Code.BROKEN


def test_an_empty_entry_may_be_deflated_to_nothing(checker: Checker) -> None:
    assert checker.check(archive([*PARTS, Entry("docProps/thumbnail.wmf", b"", packed=b"")]), **DOCX)
    assert checker.error_code(archive([TYPES, RELS, replace(DOCUMENT, packed=b"")]), **DOCX) == Code.BROKEN


@pytest.mark.parametrize(
    "behind",
    [b"\n", b"\r\n\r\n", b"\0" * 4000, b" \t\x1a", b"\r\n--boundary-1234--\r\n"],
    ids=["line", "lines", "NULs", "blanks", "multipart"],
)
def test_blanks_and_a_few_bytes_behind_the_end_record_are_accepted(checker: Checker, behind: bytes) -> None:
    assert checker.check(archive(PARTS, behind=behind), **DOCX).detected.ext == "docx"
    assert checker.check(archive(PARTS, comment=b"a comment", behind=behind), **DOCX).detected.ext == "docx"
    assert checker.error_code(sample("xlsx/openpyxl") + behind, filename="a.xlsx") is None


@pytest.mark.parametrize(
    "behind",
    [
        pytest.param(b"<script>alert(1)</script>" * 10, id="markup"),
        pytest.param(b"\0" * (TAIL_BYTES + 1), id="too many NULs"),
        pytest.param(archive(PARTS), id="a second package"),
        pytest.param(b"PK\3\4", id="the start of an entry"),
        pytest.param(b"PK\5\6", id="the start of an end record"),
        pytest.param(b"PK\5\6" + bytes(18), id="an empty archive"),
    ],
)
def test_other_content_behind_the_end_record_is_refused(checker: Checker, behind: bytes) -> None:
    assert checker.error_code(archive(PARTS, behind=behind), **DOCX) == Code.BROKEN


def test_a_package_hidden_in_front_of_another_is_refused(checker: Checker) -> None:
    """The offsets of the second one are right, so that a reader of its directory sees nothing of the first."""
    assert checker.error_code(archive(PARTS, before=archive(PARTS)), **DOCX) == Code.BROKEN
    assert checker.error_code(archive(PARTS, before=b"PK\3\4 and more"), **DOCX) == Code.BROKEN


def test_an_end_record_in_a_comment_is_refused(checker: Checker) -> None:
    whole = archive(PARTS)
    assert checker.error_code(archive(PARTS, comment=whole[-22:]), **DOCX) == Code.BROKEN
    assert checker.error_code(archive(PARTS, comment=whole[-22:] + b"x"), **DOCX) == Code.BROKEN


def test_the_main_part_is_the_one_that_the_relationships_name(checker: Checker) -> None:
    """A document that embeds another as a part declares two parts of the main type."""
    chunk = f'<Override PartName="/word/chunk.xml" ContentType="{office.WORD_MAIN}"/>{DECLARATION}'
    types = office.CONTENT_TYPES.replace(DECLARATION, chunk)
    parts = [DOCUMENT, replace(DOCUMENT, name="word/chunk.xml")]
    assert checker.check(with_types(types, RELS, *parts), **DOCX).detected.ext == "docx"
    assert checker.error_code(with_types(types, *parts), **DOCX) == Code.TYPE_MISMATCH


def test_a_main_part_of_another_type_makes_no_document(checker: Checker) -> None:
    """The relationships name a theme, so Office opens no document although the package has one."""
    rels = replace(RELS, content=RELATIONSHIPS.format(target="theme/theme1.xml").encode())
    assert checker.error_code(archive([TYPES, rels, DOCUMENT, Entry("theme/theme1.xml", b"<a/>")]), **DOCX)


def test_relationships_with_a_document_type_are_refused(checker: Checker) -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>' + RELS.content
    assert checker.error_code(archive([TYPES, replace(RELS, content=bomb), DOCUMENT]), **DOCX) == Code.BROKEN


@pytest.mark.parametrize("kind", ["application/vnd.ms-excel.macrosheet+xml", "application/vnd.ms-excel.intlmacrosheet"])
def test_macro_sheets_are_flagged(checker: Checker, kind: str) -> None:
    sheet = f'<Override PartName="/xl/macrosheets/sheet1.xml" ContentType="{kind}"/>{DECLARATION}'
    content = with_types(office.CONTENT_TYPES.replace(DECLARATION, sheet), RELS, DOCUMENT)
    assert checker.check(content, **DOCX).facts.flags == ("macros",)
    assert checker.error_code(content, settings=REFUSE, **DOCX) == Code.ACTIVE_CONTENT


def test_a_binary_workbook_begins_with_its_first_record(checker: Checker) -> None:
    content = office.binary_workbook()
    assert checker.check(content, settings=ALL_TYPES).detected.ext == "xlsb"
    other = office.with_entry(content, "xl/x.bin", b"").replace(b"xl/workbook.bin", b"xl/WORKBOOX.bin")
    assert checker.error_code(other, settings=ALL_TYPES, filename="a.xlsb") == Code.BROKEN


@given(st.binary(max_size=300), st.binary(max_size=40))
def test_any_bytes_behind_an_archive_are_accepted_or_broken(behind: bytes, comment: bytes) -> None:
    whole = archive(PARTS, comment=comment, behind=behind)
    start = max(0, len(whole) - TAIL_BYTES)
    assert error_code_of(lambda: end_record(whole[start:], start=start)) in {None, Code.BROKEN}
