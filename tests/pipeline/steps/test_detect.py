"""The step detect: the content decides the type, and the declaration is compared with it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Code, PermanentError
from pipeline.media_types import MEDIA_TYPES, media_type_for
from pipeline.models import Attachment, Detected, Fetched, Kind
from pipeline.steps.detect import StagedFile, detect_many
from tests.support import compound_files as office
from tests.support import hostile_files as hostile
from tests.support.checking import ALL_TYPES, Checker, SandboxStub, checker, error_code_of, sandbox, settings
from tests.support.samples import pdf_by_hand, sample, stored

__all__ = ["checker", "sandbox"]

EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
REJECT = settings(mismatch="reject")


def test_a_png_declared_as_jpeg_is_stored_as_png_with_the_mismatch(checker: Checker) -> None:
    detected = checker.check(sample("png/pillow"), mimetype="image/jpeg", filename="foto.jpg", kind="image").detected
    assert (detected.mime, detected.ext) == ("image/png", "png")
    assert detected.mismatch == "declared image/jpeg, is image/png; named .jpg, is .png"


@pytest.mark.parametrize(
    "declared",
    [{"mimetype": "image/jpeg"}, {"filename": "a.jpg"}, {"kind": "video"}, {"filename": "a.html"}],
)
def test_mismatch_setting_reject_refuses_a_mismatch(checker: Checker, declared: dict[str, str]) -> None:
    assert checker.error_code(sample("png/pillow"), settings=REJECT, **declared) == Code.TYPE_MISMATCH
    assert checker.error_code(sample("png/pillow"), **declared) is None


@pytest.mark.parametrize(
    ("label", "declared"),
    [
        ("ogg/opus", {"mimetype": "audio/ogg; codecs=opus", "kind": "ptt", "filename": "a.opus"}),
        ("jpeg/pillow", {"mimetype": "IMAGE/JPG", "filename": "A.JPG", "kind": "image"}),
        ("jpeg/pillow", {"mimetype": "application/octet-stream", "filename": "relatorio.final.v2"}),
        ("jpeg/pillow", {"filename": "no extension"}),
        ("wav/wave", {"mimetype": "audio/x-wav"}),
        ("m4a/aac", {"mimetype": "audio/mp4", "filename": "voz.mp4"}),
        ("heic/libheif", {"mimetype": "image/heif", "filename": "IMG_1.HEIC"}),
    ],
)
def test_aliases_of_a_type_are_no_mismatch(checker: Checker, label: str, declared: dict[str, str]) -> None:
    assert checker.detect(sample(label), settings=REJECT, **declared).mismatch is None


def test_an_empty_file_is_refused(checker: Checker) -> None:
    assert checker.error_code(b"", mimetype="image/jpeg") == Code.EMPTY


@pytest.mark.parametrize("name", hostile.OTHER_ARCHIVES)
def test_other_archives_named_docx_are_a_mismatch(checker: Checker, name: str) -> None:
    content = hostile.OTHER_ARCHIVES[name]()
    docx = MEDIA_TYPES["docx"].mime
    assert checker.error_code(content, filename="contrato.docx") == Code.TYPE_MISMATCH
    assert checker.error_code(content, mimetype=docx, kind="document") == Code.TYPE_MISMATCH
    assert checker.error_code(content, filename=f"x.{name}") == Code.TYPE_NOT_ALLOWED


def test_an_odt_named_docx_is_a_mismatch(checker: Checker) -> None:
    assert checker.error_code(stored("libreoffice.odt"), filename="contrato.docx") == Code.TYPE_MISMATCH


@pytest.mark.parametrize("name", ["a.doc", "a.pdf", "a.xls", "a.docx"])
@pytest.mark.parametrize(
    "content",
    [
        b"only text\n" * 20,
        b'{"a": [1, 2, 3]}',
        b'<?xml version="1.0"?><a/>',
        stored("libreoffice.ppt.xz"),
        stored("libreoffice.rtf"),
    ],
    ids=["text", "json", "xml", "ppt", "rtf"],
)
def test_a_disallowed_type_declared_as_a_document_is_a_mismatch(checker: Checker, content: bytes, name: str) -> None:
    assert checker.error_code(content, filename=name) == Code.TYPE_MISMATCH


def test_an_allowed_office_file_gets_its_real_type(checker: Checker) -> None:
    detected = checker.check(sample("xls/xlwt"), filename="a.doc", mimetype="application/msword").detected
    assert (detected.ext, detected.mismatch) == (
        "xls",
        "declared application/msword, is application/vnd.ms-excel; named .doc, is .xls",
    )
    assert checker.error_code(sample("xls/xlwt"), filename="a.doc", settings=REJECT) == Code.TYPE_MISMATCH


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.gif"])
@pytest.mark.parametrize(
    "content",
    [
        b"push graphic-context\nviewbox 0 0 640 480\nfill 'url(https://127.0.0.1/x.jpg\"|id \")'\npop\n",
        b"%!PS-Adobe-3.0\n%%Pages: 1\n(/etc/passwd) (r) file pop\nshowpage\n",
        b"AT&TFORM\0\0\0\x40DJVUINFO\0\0\0\x0a" + bytes(48),
    ],
    ids=["mvg", "postscript", "djvu"],
)
def test_files_that_start_delegates_are_refused(checker: Checker, content: bytes, name: str) -> None:
    assert checker.error_code(content, filename=name, kind="image") == Code.TYPE_NOT_ALLOWED


PLAYLISTS = {
    "m3u8": b"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:10,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
    "concat": b"ffconcat version 1.0\nfile '/etc/passwd'\n",
    "mpd": b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>http://127.0.0.1/</BaseURL></MPD>',
    "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
}


@pytest.mark.parametrize("name", PLAYLISTS)
def test_playlists_named_mp4_are_refused(checker: Checker, name: str) -> None:
    declared = {"filename": "video.mp4", "mimetype": "video/mp4", "kind": "video"}
    assert checker.error_code(PLAYLISTS[name], **declared) == Code.TYPE_NOT_ALLOWED


UNSUPPORTED = {
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "xxe": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>',
    "html": b"<!DOCTYPE html><html><script>alert(1)</script></html>",
    "shell": b"#!/bin/sh\nrm -rf /\n",
    "python": b"#!/usr/bin/env python3\nimport os\n",
    "elf": b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\0\x3e\0\x01\0\0\0" + bytes(44),
    "exe": b"MZ" + bytes(58) + b"\x40\0\0\0PE\0\0\x64\x86" + bytes(200),
    "gzip": b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + bytes(20),
    "7z": b"7z\xbc\xaf\x27\x1c\0\x04" + bytes(40),
    "rar": b"Rar!\x1a\x07\x01\0" + bytes(40),
    "ico": b"\0\0\x01\0\x01\0\0\0\0\0\x01\0\x20\0\x10\0\0\0\x16\0\0\0" + bytes(40),
    "bytes": bytes(range(256)),
    "jp2": hostile.mp4_boxes((b"ftyp", b"jp2 \0\0\0\0jp2 ")),
    "msi": office.ole({"Property": b"x"}),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_markup_scripts_programs_and_archives_are_refused(checker: Checker, name: str) -> None:
    for declared in ({"filename": f"a.{name}"}, {"filename": "a.png", "mimetype": "image/png", "kind": "image"}):
        assert checker.error_code(UNSUPPORTED[name], **declared) == Code.TYPE_NOT_ALLOWED


def test_markup_is_refused_even_if_text_is_allowed(checker: Checker) -> None:
    for name in ("svg", "xxe", "html", "shell", "python"):
        assert checker.error_code(UNSUPPORTED[name], settings=ALL_TYPES, filename="a.bin") == Code.TYPE_NOT_ALLOWED, (
            name
        )


def test_a_polyglot_has_one_type(checker: Checker) -> None:
    archive = office.zipped({"a.html": b"<script>"})
    assert checker.check(sample("jpeg/pillow") + archive, filename="a.jpg").detected.ext == "jpeg"
    assert checker.check(sample("gif/pillow") + pdf_by_hand(), filename="a.pdf").detected.ext == "gif"
    assert checker.check(pdf_by_hand() + archive, filename="a.zip").detected.ext == "pdf"
    assert checker.error_code(b"<html><script>1</script>\n" + pdf_by_hand(), filename="a.jpg") == Code.TYPE_NOT_ALLOWED


def test_ogg_is_identified_by_its_streams(checker: Checker) -> None:
    declared = {"mimetype": "audio/ogg; codecs=opus", "kind": "ptt"}
    assert checker.error_code(hostile.ogg_theora(), **declared) == Code.TYPE_NOT_ALLOWED
    assert checker.check(sample("ogg/flac"), **declared).detected.kind == Kind.PTT


@pytest.mark.parametrize(
    "declared", [{"filename": "eicar.com"}, {"filename": "eicar.txt", "mimetype": "text/plain"}, {}]
)
def test_eicar_is_refused_as_text(checker: Checker, declared: dict[str, str]) -> None:
    assert checker.error_code(EICAR, **declared) == Code.TYPE_NOT_ALLOWED


def test_text_declared_as_csv_is_csv(checker: Checker) -> None:
    content = b"just one column\nof words\n"
    assert checker.detect(content, settings=ALL_TYPES, filename="a.csv").ext == "csv"
    assert checker.detect(content, settings=ALL_TYPES, filename="a.txt").ext == "txt"


@pytest.mark.parametrize("ext", ["docx", "xlsx", "pptx"])
def test_encrypted_ooxml_has_its_declared_type(checker: Checker, ext: str) -> None:
    content = stored(f"locked.{ext}")
    assert checker.detect(content, filename=f"a.{ext}").ext == ext
    assert checker.detect(content, mimetype=MEDIA_TYPES[ext].mime).ext == ext
    assert checker.error_code(content) == Code.TYPE_NOT_ALLOWED


type_names = st.one_of(st.none(), st.sampled_from([*MEDIA_TYPES, "encrypted-ooxml"]))
mime_types = st.one_of(
    st.none(), st.sampled_from([mime for row in MEDIA_TYPES.values() for mime in row.mimes]), st.text()
)


@given(
    name=type_names,
    mimetype=mime_types,
    filename=st.one_of(
        st.none(), st.text(), st.sampled_from([f"x.{ext}" for row in MEDIA_TYPES.values() for ext in row.exts])
    ),
    kind=st.one_of(st.none(), st.sampled_from(Kind)),
    policy=st.sampled_from(["correct", "reject"]),
    sound_only=st.booleans(),
)
def test_any_declaration_gives_the_real_type_or_a_permanent_error(
    name: str | None, mimetype: str | None, filename: str | None, kind: Kind | None, policy: Any, sound_only: bool
) -> None:
    attachment = Attachment(session="s", message_id="m", mimetype=mimetype, filename=filename, kind=kind)
    content = {"name": name, "mime": "application/x-detected", "fault": None, "sound_only": sound_only}
    file = StagedFile(attachment, Fetched(size=1, sha256="0" * 64), "/nowhere")
    [result] = detect_many([file], sandbox=SandboxStub(content), settings=settings(mismatch=policy))
    if not isinstance(result, Detected):
        assert isinstance(result, PermanentError)
        assert result.code in {Code.TYPE_NOT_ALLOWED, Code.TYPE_MISMATCH}
        return
    media_type = media_type_for(result.mime, result.ext)
    assert media_type
    assert media_type.default
    assert result.kind in media_type.kinds
    assert result.mismatch is None or policy == "correct"
    assert media_type.name in {name, "csv"} or name == "encrypted-ooxml"


def test_error_messages_contain_no_path(checker: Checker) -> None:
    assert error_code_of(lambda: checker.check(b"\0\1\2\3", filename="../../etc/passwd")) == Code.TYPE_NOT_ALLOWED
