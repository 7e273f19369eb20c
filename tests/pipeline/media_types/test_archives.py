"""Plain zip archives, the packages that are no plain ones, and Lottie stickers."""

from __future__ import annotations

import json
import struct
import zipfile
from typing import Any

import pytest

from pipeline.errors import Code
from pipeline.models import Kind
from tests.support import data_files as data
from tests.support.checking import ALL_TYPES, Checker, checker, error_of, sandbox, settings
from tests.support.samples import sample

__all__ = ["checker", "sandbox"]

ZIP = settings(allowed_types={"zip"})
APK, JAR = "application/vnd.android.package-archive", "application/java-archive"


def refusal(checker: Checker, content: bytes, **declared: str) -> tuple[Code, str]:
    error = error_of(lambda: checker.check(content, settings=ALL_TYPES, **declared))
    assert error is not None
    return error.code, error.message


PACKAGES = {
    APK: {"META-INF/MANIFEST.MF": "", "AndroidManifest.xml": "", "classes.dex": ""},
    JAR: {"META-INF/MANIFEST.MF": "Manifest-Version: 1.0", "a/B.class": ""},
    "application/x-xpinstall": {"manifest.json": "{}", "META-INF/mozilla.rsa": ""},
    "application/x-ios-app": {"Payload/": "", "Payload/Loja.app/Info.plist": ""},
    "application/vnd.google-earth.kmz": {"doc.kml": "<kml/>"},
    "application/epub+zip": {"mimetype": "application/epub+zip", "META-INF/container.xml": ""},
    "application/vnd.oasis.opendocument.text": {"mimetype": "application/vnd.oasis.opendocument.text"},
}


@pytest.mark.parametrize("mime", PACKAGES)
def test_packages_are_named_and_never_plain_archives(checker: Checker, mime: str) -> None:
    content = data.archive(PACKAGES[mime])
    answer = refusal(checker, content, filename="fotos.zip", mimetype="application/zip")
    assert answer == (Code.TYPE_NOT_ALLOWED, f"{mime} is not accepted")


def test_a_mimetype_entry_cannot_name_an_accepted_type(checker: Checker) -> None:
    for name in ("docx", "was", "jpeg", "text/plain", "image/jpeg", "x" * 300):
        detected = checker.check(data.archive({"mimetype": name}), settings=ZIP).detected
        assert detected.mime == "application/zip"


def test_an_office_document_named_zip_is_an_office_document(checker: Checker) -> None:
    assert checker.check(sample("docx/hand"), settings=ZIP, filename="contrato.zip").detected.ext == "docx"


def test_a_package_of_office_parts_without_a_main_part_is_no_plain_archive(checker: Checker) -> None:
    content = data.archive({"[Content_Types].xml": '<Types xmlns="http://x"/>', "visio/document.xml": "<a/>"})
    assert refusal(checker, content)[0] == Code.TYPE_NOT_ALLOWED


def test_an_encrypted_archive_is_flagged_or_refused(checker: Checker) -> None:
    content = data.encrypted_archive()
    assert checker.check(content, settings=ZIP).facts.flags == ("encrypted",)
    strict = settings(allowed_types={"zip"}, active_documents="reject")
    assert checker.error_code(content, settings=strict) == Code.ACTIVE_CONTENT


def absurd_directory(entries: int, *, stated: int) -> bytes:
    """An archive of one byte whose directory has this many entries, and whose end record states another number."""
    header = b"PK\x03\x04" + struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 0, 0, 0, 0, 1, 0) + b"a"
    record = b"PK\x01\x02" + struct.pack("<HHHHHHIIIHHHHHII", *(20, 20), *[0] * 7, 1, *[0] * 6) + b"a"
    end = struct.pack("<HHHHIIH", 0, 0, stated, stated, len(record) * entries, len(header), 0)
    return header + record * entries + b"PK\x05\x06" + end


BAD_ARCHIVES = {
    "no-entries": (data.archive({}), Code.EMPTY),
    "leads-out": (data.archive({"../a": "x"}), Code.TYPE_NOT_ALLOWED),
    "drive": (data.archive({"C:\\a": "x"}), Code.TYPE_NOT_ALLOWED),
    "expands": (data.archive({"a": bytes(30_000_000)}), Code.EXPANDS_TOO_FAR),
    "many-entries": (absurd_directory(60_000, stated=60_000), Code.EXPANDS_TOO_FAR),
    "more-entries-than-stated": (absurd_directory(500_000, stated=1), Code.EXPANDS_TOO_FAR),
    "overlap": (absurd_directory(3, stated=3), Code.BROKEN),
    "cut": (data.archive({"a": "x" * 100})[:-10], Code.BROKEN),
    "no-directory": (data.archive({"a": "x" * 100})[:60], Code.BROKEN),
    "html-in-front": (b"PK\x03\x04<html><script>x()</script></html>" + data.archive({"a": "x"}), Code.BROKEN),
}


@pytest.mark.parametrize("name", BAD_ARCHIVES)
def test_bad_archives_are_refused(checker: Checker, name: str) -> None:
    content, code = BAD_ARCHIVES[name]
    assert refusal(checker, content, filename="fotos.zip", mimetype="application/zip")[0] == code


def animation(**fields: Any) -> dict[str, Any]:
    return {**data.ANIMATION, **fields}


def nested(depth: int) -> str:
    return json.dumps(data.ANIMATION)[:-1] + ', "q": ' + "[" * depth + "]" * depth + "}"


def with_member(member: str) -> str:
    return json.dumps(data.ANIMATION)[:-1] + f", {member}}}"


def nested_repeaters(depth: int, copies: int = 20) -> list[dict[str, Any]]:
    """Groups within each other, each of which is repeated."""
    inner = nested_repeaters(depth - 1, copies) if depth else []
    return [{"ty": "gr", "it": [{"ty": "el"}, *inner]}, {"ty": "rp", "c": {"a": 0, "k": copies}}]


LAYER = {"ty": 4, "shapes": []}
ASSETS = [{"id": f"c{n}", "layers": [{"refId": f"c{n + 1}"}] * 10} for n in range(20)]
INVALID = "holds JSON that is not valid"
BAD_STICKERS: dict[str, tuple[dict[str, Any] | str, str]] = {
    "nested-100000": (nested(100_000), "is nested more than 128 levels deep"),
    "nested-200": (nested(200), "is nested more than 128 levels deep"),
    "layers-10000": (animation(layers=[LAYER] * 10_000), "draws more than 5000 layers"),
    "compositions-of-compositions": (animation(layers=[{"refId": "c0"}], assets=ASSETS), "draws more than 5000 layers"),
    "composition-in-itself": (
        animation(layers=[{"refId": "a"}], assets=[{"id": "a", "layers": [{"refId": "a"}]}]),
        "is nested more than 32 levels deep",
    ),
    "copies of copies": (animation(layers=[{"shapes": nested_repeaters(3)}]), "layers or copies"),
    "repeaters of one list": (
        animation(layers=[{"shapes": [{"ty": "el"}, *[{"ty": "rp", "c": {"k": 100}}] * 3]}]),
        "layers or copies",
    ),
    "copies": (animation(layers=[{"shapes": [{"ty": "rp", "c": {"a": 0, "k": 1_000_000}}]}]), "layers or copies"),
    "copies-in-a-frame": (
        animation(layers=[{"shapes": [{"ty": "rp", "c": {"a": 1, "k": [{"t": 0, "s": [9e9]}]}}]}]),
        "layers or copies",
    ),
    "name-twice": (with_member('"w": 512'), INVALID),
    "infinite": (with_member('"q": 1e999'), INVALID),
    "huge": (with_member('"q": 1e300'), INVALID),
    "huge-integer": (with_member(f'"q": {"9" * 100_000}'), INVALID),
    "nan": (with_member('"q": NaN'), INVALID),
    "cut": (json.dumps(data.ANIMATION)[:-1], INVALID),
    "no-json": ("<html><script>x()</script></html>", INVALID),
    "list": ("[]", "has no Lottie animation"),
    "no-layers": ('{"w": 1, "h": 1, "fr": 1, "op": 1}', "has no Lottie animation"),
    "no-size": (animation(w=0), "has no Lottie animation"),
    "text-as-size": (animation(h="512"), "has no Lottie animation"),
    "no-time": (animation(ip=180), "has no Lottie animation"),
    "expression": (
        animation(layers=[{"ks": {"o": {"a": 0, "k": 1, "x": "var $bm_rt = thisComp.frameDuration"}}}]),
        "holds a script",
    ),
    "remote-picture": (animation(assets=[{"id": "a", "u": "https://example.org/", "p": "a.png"}]), "refers to files"),
    "file-picture": (animation(assets=[{"id": "a", "u": "/etc/", "p": "passwd"}]), "refers to files"),
    "missing-picture": (animation(assets=[{"id": "a", "u": "images/", "p": "a.png"}]), "refers to files"),
    "svg-picture": (animation(assets=[{"id": "a", "p": "data:image/svg+xml;base64,PHN2Zz4="}]), "refers to files"),
    "html-as-picture": (animation(assets=[{"id": "a", "p": "data:text/html,<script>"}]), "refers to files"),
    "remote-font": (animation(fonts={"list": [{"fPath": "https://example.org/f.ttf"}]}), "refers to files"),
}


@pytest.mark.parametrize("name", BAD_STICKERS)
def test_bad_stickers_are_broken(checker: Checker, name: str) -> None:
    content, reason = BAD_STICKERS[name]
    code, message = refusal(checker, data.sticker(content), mimetype="application/was", kind="sticker")
    assert (code, reason in message) == (Code.BROKEN, True), message


def test_a_sticker_with_repeaters_in_several_groups_is_accepted(checker: Checker) -> None:
    shapes = [{"ty": "gr", "it": nested_repeaters(1)} for _ in range(5)]
    content = data.sticker(animation(layers=[{"ty": 4, "shapes": shapes}] * 5))
    assert checker.error_code(content) is None


def test_the_second_animation_of_a_sticker_is_checked_too(checker: Checker) -> None:
    content = data.sticker(**{"animation/animation_secondary.json": animation(layers=[LAYER] * 10_000)})
    assert refusal(checker, content) == (Code.BROKEN, "draws more than 5000 layers or copies")


def test_a_picture_in_the_archive_of_a_sticker_is_accepted(checker: Checker) -> None:
    asset = {"id": "a", "u": "images/", "p": "a.png", "e": 0}
    content = data.sticker(animation(assets=[asset]), **{"animation/images/a.png": "x"})
    assert checker.error_code(content) is None


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (data.sticker(animation(op=100_000)), Code.TOO_MANY_FRAMES),
        (data.sticker(animation(fr=1e-9)), Code.TOO_LONG),
        (data.sticker(animation(w=100_000, h=100_000)), Code.TOO_MANY_PIXELS),
        (data.sticker(animation(layers=[LAYER] * 1_000_000)), Code.EXPANDS_TOO_FAR),
        (data.sticker(x=" " * 30_000_000), Code.EXPANDS_TOO_FAR),
        (data.sticker(**{f"{n}.png": "" for n in range(18)}), Code.BROKEN),
        (data.sticker(**{"../a.json": "{}"}), Code.TYPE_NOT_ALLOWED),
        (data.sticker(**{"Animation/ANIMATION.json": "{}"}), Code.BROKEN),
        (data.sticker()[:-4], Code.BROKEN),
    ],
)
def test_stickers_beyond_a_limit_are_refused(checker: Checker, content: bytes, code: Code) -> None:
    assert refusal(checker, content, mimetype="application/was", kind="sticker")[0] == code


def test_a_sticker_larger_than_whatsapp_reads_is_broken(checker: Checker) -> None:
    noise = json.dumps([n * 7919 % 100_003 / 7 for n in range(330_000)])
    content = data.archive({data.STICKER_PART: with_member(f'"q": {noise}')})
    large = settings(max_sticker_mb=20)
    error = error_of(lambda: checker.check(content, settings=large))
    assert error is not None
    assert (error.code, "more than 5000000 bytes" in error.message) == (Code.BROKEN, True)


def test_a_sticker_is_one_whatever_its_sender_declares(checker: Checker) -> None:
    for declared in (
        {},
        {"kind": "sticker"},
        {"kind": "image", "mimetype": "image/webp"},
        {"mimetype": "application/was"},
    ):
        validated = checker.check(data.sticker(), **declared)
        assert (validated.detected.kind, validated.detected.mime) == (Kind.STICKER, "application/was")
        facts = validated.facts
        assert (facts.width, facts.height, facts.duration_ms, facts.animated) == (512, 512, 3000, True)


def test_a_sticker_of_an_unknown_method_is_broken(checker: Checker) -> None:
    content = data.archive({data.STICKER_PART: json.dumps(data.ANIMATION)}, method=zipfile.ZIP_LZMA)
    assert refusal(checker, content, mimetype="application/was")[0] == Code.BROKEN
