"""The step validate: OLE files with odd but valid sector chains, encrypted documents, and workbooks without OLE."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Code
from pipeline.media_types.office.xls_records import MAX_BYTES, has_filepass, is_workbook
from tests.support import compound_files as office
from tests.support import old_workbooks as old
from tests.support.checking import ALL_TYPES, Checker, checker, error_code_of, error_of, sandbox, settings
from tests.support.samples import stored, xls_by_library

__all__ = ["checker", "sandbox"]

REFUSE = settings(active_documents="reject")
FREE, END = 0xFFFFFFFF, 0xFFFFFFFE
STREAM_SECTORS = 8  # of each stream that office.ole() writes


def patched(content: bytes, sectors: dict[int, int]) -> bytes:
    """The OLE file with these entries of its FAT, which has one sector, behind all others."""
    changed = bytearray(content)
    table = 512 + 512 * struct.unpack_from("<I", content, 76)[0]
    for sector, following in sectors.items():
        struct.pack_into("<I", changed, table + 4 * sector, following)
    return bytes(changed)


def two_streams() -> bytes:
    return office.ole({"WordDocument": office.word_stream(), "1Table": b"table"})


@pytest.mark.parametrize(
    "sectors",
    [
        pytest.param({7: 8}, id="runs on into another stream"),
        pytest.param({7: 3}, id="returns into itself"),
        pytest.param({7: 16}, id="runs on into the directory"),
        pytest.param({7: FREE}, id="ends without a mark"),
        pytest.param({7: 123_456}, id="leaves the FAT"),
        pytest.param({16: 99_999}, id="directory leaves the FAT"),
        pytest.param({11: 8}, id="another stream loops"),
        pytest.param({9: FREE, 10: 10}, id="another stream is damaged"),
    ],
)
def test_a_chain_is_followed_as_far_as_its_stream_needs_it(checker: Checker, sectors: dict[int, int]) -> None:
    assert checker.check(patched(two_streams(), sectors)).detected.ext == "doc"


@pytest.mark.parametrize(
    "sectors",
    [
        pytest.param({5: END}, id="ends early"),
        pytest.param({5: 2}, id="loops"),
        pytest.param({5: 5}, id="loops in one sector"),
        pytest.param({5: 123_456}, id="leaves the FAT"),
        pytest.param({5: 16}, id="enters the directory"),
        pytest.param({16: 16}, id="directory loops"),
    ],
)
def test_a_chain_that_is_damaged_before_its_stream_ends_is_broken(checker: Checker, sectors: dict[int, int]) -> None:
    start = time.monotonic()
    assert checker.error_code(patched(two_streams(), sectors), filename="a.doc") == Code.BROKEN
    assert time.monotonic() - start < 2


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(lambda: xls_by_library()[:-200], id="directory"),
        pytest.param(lambda: two_streams()[:-300], id="FAT"),
    ],
)
def test_a_last_sector_may_be_cut_short(checker: Checker, content: Callable[[], bytes]) -> None:
    assert checker.error_code(content()) is None


def test_a_document_that_is_cut_in_half_is_broken(checker: Checker) -> None:
    for content in (xls_by_library(rows=200), stored("libreoffice.doc"), two_streams()):
        assert checker.error_code(content[: len(content) // 2], filename="a.doc") in {Code.BROKEN, Code.TYPE_MISMATCH}


def test_a_sector_of_the_fat_that_is_not_needed_may_be_missing(checker: Checker) -> None:
    content = bytearray(two_streams())
    struct.pack_into("<I", content, 44, 2)
    struct.pack_into("<I", content, 80, 99_999)
    assert checker.check(bytes(content)).detected.ext == "doc"
    struct.pack_into("<I", content, 76, 99_999)
    assert checker.error_code(bytes(content), filename="a.doc") == Code.BROKEN


@pytest.mark.parametrize("fat_sectors", [100_000, 0xFFFFFFFF])
def test_a_fat_far_larger_than_the_file_is_broken_in_little_time(checker: Checker, fat_sectors: int) -> None:
    content = bytearray(two_streams())
    struct.pack_into("<I", content, 44, fat_sectors)
    struct.pack_into("<II", content, 68, 0, (fat_sectors - 109 + 126) // 127)
    start = time.monotonic()
    assert checker.error_code(bytes(content), filename="a.doc") == Code.BROKEN
    assert time.monotonic() - start < 2


def test_a_root_storage_with_unknown_entries_is_broken(checker: Checker) -> None:
    content = bytearray(two_streams())
    content[content.index("1Table".encode("utf-16-le")) + 66] = 208
    assert checker.error_code(bytes(content), filename="a.doc") == Code.BROKEN


def small(main: bytes, *, mini: tuple[int, ...] = (1, END), root: int | None = None) -> bytes:
    """A document whose main stream of 100 bytes is in the mini stream, with this mini FAT."""
    mini_stream = main.ljust(128, b"\0").ljust(office.CUTOFF, b"\0")
    table = struct.pack(f"<{len(mini)}I", *mini).ljust(office.CUTOFF, b"\xff")
    content = bytearray(office.ole({"WordDocument": b"", "Mini": mini_stream, "MiniFat": table}))
    at = content.index("WordDocument".encode("utf-16-le"))
    struct.pack_into("<IQ", content, at + 116, 0, 100)
    at = content.index("Root Entry".encode("utf-16-le"))
    struct.pack_into("<IQ", content, at + 116, STREAM_SECTORS if root is None else root, 128)
    struct.pack_into("<II", content, 60, 2 * STREAM_SECTORS, 0)
    return bytes(content)


def test_a_main_stream_in_the_mini_stream_is_read(checker: Checker) -> None:
    assert checker.check(small(office.word_stream())).detected.ext == "doc"
    assert checker.check(small(office.word_stream(encrypted=True))).facts.flags == ("encrypted",)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(lambda: small(office.word_stream(), mini=(END,)), id="mini chain ends early"),
        pytest.param(lambda: small(office.word_stream(), mini=(0,)), id="mini chain loops"),
        pytest.param(lambda: small(office.word_stream(), mini=(70_000,)), id="mini chain leaves the mini FAT"),
        pytest.param(lambda: small(office.word_stream(), root=99_999), id="no mini stream"),
        pytest.param(lambda: small(b"nothing of Word"), id="no Word within"),
    ],
)
def test_a_damaged_mini_stream_is_broken_if_the_main_stream_needs_it(
    checker: Checker, content: Callable[[], bytes]
) -> None:
    assert checker.error_code(content(), filename="a.doc") == Code.BROKEN


@pytest.mark.parametrize(("locked", "name"), [("docx", "a.doc"), ("xlsx", "a.xls"), ("pptx", "a.ppt")])
def test_encrypted_ooxml_with_an_older_extension_has_the_newer_type(checker: Checker, locked: str, name: str) -> None:
    validated = checker.check(stored(f"locked.{locked}"), filename=name)
    assert (validated.detected.ext, validated.facts.flags) == (locked, ("encrypted",))
    assert validated.detected.mismatch == f"named .{name[2:]}, is .{locked}"


@pytest.mark.parametrize(
    ("declared", "code"),
    [
        ({}, Code.TYPE_NOT_ALLOWED),
        ({"filename": "contrato"}, Code.TYPE_NOT_ALLOWED),
        ({"filename": "foto.jpg", "mimetype": "image/jpeg"}, Code.TYPE_NOT_ALLOWED),
        ({"filename": "a.pdf"}, Code.TYPE_MISMATCH),
    ],
)
def test_encrypted_ooxml_of_an_unknown_type_is_refused_as_encrypted(
    checker: Checker, declared: dict[str, str], code: Code
) -> None:
    content = stored("locked.xlsx")
    error = error_of(lambda: checker.check(content, **declared))
    assert error is not None
    assert error.code == code
    assert "encrypted Office document" in error.message
    assert checker.error_code(content, settings=REFUSE, **declared) == Code.ACTIVE_CONTENT


@pytest.mark.parametrize("name", ["a.docx", "a.xlsx", "a.xls", "a.doc", "a.ppt", "a.docm", "a", "a.pdf"])
def test_encryption_has_one_code_if_active_content_is_refused(checker: Checker, name: str) -> None:
    for content in (stored("locked.docx"), stored("locked.xls")):
        assert checker.error_code(content, filename=name, settings=REFUSE) == Code.ACTIVE_CONTENT


def package_of(size: int, *, stream: int = 5000) -> bytes:
    return office.ole({"EncryptedPackage": size.to_bytes(8, "little").ljust(stream, b"x"), "EncryptionInfo": b"x"})


def test_an_encrypted_package_is_followed_as_far_as_its_plain_size_needs(checker: Checker) -> None:
    whole = package_of(3000)
    assert checker.check(patched(whole, {6: END}), filename="a.docx").facts.flags == ("encrypted",)
    assert checker.error_code(patched(whole, {4: END}), filename="a.docx") == Code.BROKEN
    for too_large in (5001, 2**40, 2**64 - 1):
        assert checker.error_code(package_of(too_large), filename="a.docx") == Code.BROKEN


def test_documents_with_rights_management_are_flagged_as_encrypted(checker: Checker) -> None:
    content = office.ole({"WordDocument": office.word_stream(), "\x09DRMContent": b"x"})
    assert checker.check(content).facts.flags == ("encrypted",)


def test_a_presentation_without_a_known_user_record_is_broken(checker: Checker) -> None:
    for user in (b"x" * 40, struct.pack("<HHIII", 0, 0x0FF6, 32, 20, 7)):
        content = office.ole({"Current User": user, "PowerPoint Document": b"x"})
        assert checker.error_code(content, settings=ALL_TYPES) == Code.BROKEN
    assert checker.error_code(office.ole({"PowerPoint Document": b"x"}), settings=ALL_TYPES) == Code.BROKEN


OLD_DOCUMENTS = {
    "PowerPoint 4": office.ole({"PP40": b"x"}),
    "Word 2": b"\xdb\xa5\x2d\0\x31\x40\x09\x04" + bytes(500),
    "Word 1": b"\x9b\xa5\x21\0\0\0\0\0" + bytes(500),
}


@pytest.mark.parametrize("program", OLD_DOCUMENTS)
def test_documents_of_programs_before_1995_are_refused_by_name(checker: Checker, program: str) -> None:
    for name in ("a.doc", "a.ppt"):
        error = error_of(lambda: checker.check(OLD_DOCUMENTS[program], filename=name, settings=ALL_TYPES))  # noqa: B023
        assert error is not None
        assert error.code == Code.TYPE_NOT_ALLOWED
        assert program.split(maxsplit=1)[0] in error.message


@pytest.mark.parametrize("version", old.BEGINNINGS)
def test_a_workbook_without_ole_is_accepted(checker: Checker, version: int) -> None:
    content = old.sheet(version)
    for declared in ({"filename": "horas.xls"}, {"mimetype": "application/vnd.ms-excel"}, {}):
        validated = checker.check(content, **declared)
        assert (validated.detected.ext, validated.facts.flags, validated.detected.mismatch) == ("xls", (), None)
    assert checker.check(content + b"\r\n").detected.ext == "xls"


def test_a_workbook_without_ole_may_have_several_sheets(checker: Checker) -> None:
    sheets = old.sheet(4) + old.sheet(4)
    assert checker.check(sheets).detected.ext == "xls"
    workspace = old.sheet(4, old.sheet(4), old.sheet(4), content=old.WORKSPACE)
    assert checker.check(workspace).detected.ext == "xls"


def test_macros_and_encryption_of_a_workbook_without_ole_are_flagged(checker: Checker) -> None:
    macros = old.sheet(4, content=old.MACRO_SHEET)
    hidden = old.sheet(4, macros, content=old.WORKSPACE)
    locked = old.sheet(3, old.record(old.FILEPASS, b"\1\2\3\4"))
    for content, flag in ((macros, "macros"), (hidden, "macros"), (locked, "encrypted")):
        assert checker.check(content).facts.flags == (flag,)
        assert checker.error_code(content, settings=REFUSE) == Code.ACTIVE_CONTENT


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(old.sheet(4)[:-4], id="no end"),
        pytest.param(old.sheet(4)[:-6], id="cut in a record"),
        pytest.param(old.beginning(4) + struct.pack("<HH", 4, 60_000) + b"x", id="a record beyond the file"),
        pytest.param(old.sheet(4) + b"<script>alert(1)</script>", id="markup behind it"),
        pytest.param(old.sheet(4, old.beginning(4)), id="a sheet that does not end"),
    ],
)
def test_damaged_workbooks_without_ole_are_broken(checker: Checker, content: bytes) -> None:
    assert checker.error_code(content, filename="a.xls") == Code.BROKEN


@pytest.mark.parametrize("empty", [old.record(0), old.beginning(2)], ids=["empty records", "sheets within sheets"])
def test_endless_workbooks_without_ole_end_in_little_time(checker: Checker, empty: bytes) -> None:
    content = old.beginning(4) + empty * (20_000_000 // len(empty))
    start = time.monotonic()
    assert checker.error_code(content, filename="a.xls") == Code.BROKEN
    assert time.monotonic() - start < 8


def test_a_workbook_without_ole_has_a_largest_size(checker: Checker) -> None:
    assert checker.error_code(old.sheet(4) + bytes(MAX_BYTES), filename="a.xls") == Code.BROKEN


@given(st.binary(max_size=200))
def test_any_bytes_are_a_workbook_or_none(content: bytes) -> None:
    if is_workbook(content):
        assert not has_filepass(content[:8])
    assert error_code_of(lambda: has_filepass(content.ljust(4, b"\0"))) in {None, Code.BROKEN}
