"""XML, vCard and OFX: what is refused, and that no entity is ever resolved."""

from __future__ import annotations

import pytest

from pipeline.errors import Code
from pipeline.models import Kind
from tests.support import data_files as data
from tests.support.checking import ALL_TYPES, Checker, checker, error_of, sandbox, settings

__all__ = ["checker", "sandbox"]

XML = settings(allowed_types={"xml"})
HEAD = '<?xml version="1.0" encoding="UTF-8"?>'
XHTML, SVG = "http://www.w3.org/1999/xhtml", "http://www.w3.org/2000/svg"


def refusal(checker: Checker, content: bytes | str, **declared: str) -> tuple[Code, str]:
    text = content.encode() if isinstance(content, str) else content
    error = error_of(lambda: checker.check(text, settings=ALL_TYPES, **declared))
    assert error is not None
    return error.code, error.message


@pytest.mark.parametrize(
    ("declared", "mismatch"),
    [
        ({"mimetype": "text/xml", "filename": "NFe35.xml", "kind": "document"}, None),
        ({"mimetype": "application/octet-stream"}, None),
        ({"mimetype": "text/plain", "filename": "nota.txt"}, "declared text/plain, is application/xml"),
    ],
)
def test_an_invoice_is_xml_whatever_its_sender_declares(
    checker: Checker, declared: dict[str, str], mismatch: str | None
) -> None:
    detected = checker.check(data.invoice("UTF-8").encode(), settings=XML, **declared).detected
    assert (detected.mime, detected.ext, detected.kind) == ("application/xml", "xml", Kind.DOCUMENT)
    assert (detected.mismatch or "").startswith(mismatch or "") is True
    assert bool(detected.mismatch) == bool(mismatch)


BOMBS = {
    "billion-laughs": '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><a>&b;</a>',
    "external-entity": '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
    "external-subset": '<!DOCTYPE a SYSTEM "http://127.0.0.1:9/x.dtd"><a/>',
    "parameter-entity": '<!DOCTYPE a [<!ENTITY % p SYSTEM "file:///etc/passwd">%p;]><a/>',
    "bare-document-type": "<!DOCTYPE a><a/>",
    "in-root-attribute": '<!DOCTYPE a [<!ENTITY a "ha">]><a b="&a;&a;"/>',
}


@pytest.mark.parametrize("name", BOMBS)
def test_xml_with_a_document_type_is_refused(checker: Checker, name: str) -> None:
    expected = (Code.BROKEN, "holds XML that declares a document type")
    assert refusal(checker, HEAD + BOMBS[name]) == expected
    assert refusal(checker, (HEAD.replace("UTF-8", "UTF-16") + BOMBS[name]).encode("utf-16")) == expected


RUN = {
    "xhtml-element": f'<a><h:b xmlns:h="{XHTML}">x</h:b></a>',
    "xhtml-by-reference": f'<a><h:b xmlns:h="{XHTML[:-1]}&#108;">x</h:b></a>',
    "svg-element": f'<a><s:svg xmlns:s="{SVG}" onload="x()"/></a>',
    "windows-script": '<job><script language="JScript">x()</script></job>',
    "upper-case-script": "<job><SCRIPT>x()</SCRIPT></job>",
    "stylesheet-instruction": '<?xml-stylesheet type="text/xsl" href="https://example.org/x.xsl"?><a/>',
    "stylesheet": '<xsl:stylesheet xmlns:xsl="http://www.w3.org/1999/XSL/Transform" version="1.0"/>',
    "inclusion": '<a xmlns:x="http://www.w3.org/2001/XInclude"><x:include href="file:///etc/passwd"/></a>',
    "word-2003": '<?mso-application progid="Word.Document"?><a/>',
    "php": "<a><?php system('id'); ?></a>",
}


@pytest.mark.parametrize("name", RUN)
def test_xml_that_programs_run_is_refused(checker: Checker, name: str) -> None:
    code, message = refusal(checker, HEAD + RUN[name], filename="nota.xml", mimetype="application/xml")
    assert (code, "programs may run" in message) == (Code.TYPE_NOT_ALLOWED, True)


@pytest.mark.parametrize(
    ("content", "mime"),
    [
        (f'{HEAD}<svg xmlns="{SVG}"/>', "image/svg+xml"),
        (f"{HEAD}<svg/>", "image/svg+xml"),
        (f'{HEAD}<html xmlns="{XHTML}"/>', "application/xhtml+xml"),
        (f"{HEAD}<!DOCTYPE html><html/>", "text/html"),
        (f'{HEAD}<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "svg11.dtd"><svg/>', "image/svg+xml"),
        ("<html><body>oi</body></html>", "text/html"),
    ],
)
def test_markup_called_xml_is_named_and_refused(checker: Checker, content: str, mime: str) -> None:
    for encoding in ("utf-8", "utf-8-sig"):
        answer = refusal(checker, content.encode(encoding), filename="nota.xml", mimetype="text/xml")
        assert answer == (Code.TYPE_NOT_ALLOWED, f"{mime} is not accepted")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (f"{HEAD}<a><b></a>", "holds XML that is not well formed"),
        (f"{HEAD}<a/><b/>", "holds XML that is not well formed"),
        (f"{HEAD}<a>&nbsp;</a>", "holds XML that is not well formed"),
        (HEAD, "holds XML that is not well formed"),
        ('<?xml version="1.0" encoding="x-klingon"?><a/>', "holds XML that is not well formed"),
        ('<?xml version="1.0" encoding="utf-7"?><a/>', "holds XML that is not well formed"),
        (b'<?xml version="1.0" encoding="UTF-8"?><a>\xe3</a>', "holds XML that is not well formed"),
        (f"{HEAD}{'<a>' * 257}{'</a>' * 257}", "is nested more than 256 levels deep"),
        (f"{HEAD}{'<a>' * 1_000_000}", "is nested more than 256 levels deep"),
    ],
)
def test_damaged_xml_is_broken(checker: Checker, content: str | bytes, reason: str) -> None:
    assert refusal(checker, content) == (Code.BROKEN, reason)


def test_text_that_begins_with_a_tag_is_no_xml(checker: Checker) -> None:
    for text in ("<Mídia oculta>\n31/12 - Ana: oi\n", "<b>oi</b>\nfim\n", "<ana@example.org> escreveu:\n"):
        assert checker.check(text.encode(), settings=ALL_TYPES, filename="a.txt").detected.ext == "txt"


def test_a_large_xml_document_is_checked_to_its_end(checker: Checker) -> None:
    rows = "<det><prod><cProd>1</cProd></prod></det>" * 50_000
    assert checker.error_code(f"{HEAD}<a>{rows}</a>".encode(), settings=XML) is None
    assert checker.error_code(f"{HEAD}<a>{rows}<script/></a>".encode(), settings=XML) == Code.TYPE_NOT_ALLOWED
    assert checker.error_code(f"{HEAD}<a>{rows}".encode(), settings=XML) == Code.BROKEN


CARD = data.card("3.0")
BAD_CARDS = {
    "html-behind": (CARD + "<html><script>x()</script></html>\r\n", "has text outside of its cards"),
    "html-in-front-of-second": (CARD + "<html>\r\n" + CARD, "has text outside of its cards"),
    "mark-and-html": ((CARD + "\ufeff\ufeff<html>\r\n"), "has text outside of its cards"),
    "folded-outside": (CARD + " <html>\r\n", "has text outside of its cards"),
    "html-within": (CARD.replace("FN:", "<script>x()</script>\r\nFN:"), "has a line that is no property of a card"),
    "cut": (CARD.removesuffix("END:VCARD\r\n"), "ends within a card"),
    "no-version": (CARD.replace("VERSION:3.0\r\n", ""), "has a card that is not of version 2.1, 3.0 or 4.0"),
    "other-version": (CARD.replace("3.0", "9.0"), "has a card that is not of version 2.1, 3.0 or 4.0"),
    "second-without-version": (
        CARD + CARD.replace("VERSION:3.0\r\n", ""),
        "has a card that is not of version 2.1, 3.0 or 4.0",
    ),
    "nested": ("BEGIN:VCARD\r\nVERSION:2.1\r\n" * 100, "is nested more than 4 levels deep"),
    "zero-byte": (CARD + "\0", "holds bytes that are not text"),
    "damaged-utf-16": (CARD.encode("utf-16")[:-1], "holds bytes that are not text"),
}


@pytest.mark.parametrize("name", BAD_CARDS)
def test_damaged_vcards_and_polyglots_are_broken(checker: Checker, name: str) -> None:
    content, reason = BAD_CARDS[name]
    assert refusal(checker, content, filename="contato.vcf", mimetype="text/x-vcard") == (Code.BROKEN, reason)


def test_a_vcard_line_may_be_long_but_not_without_bounds(checker: Checker) -> None:
    photo = "PHOTO;ENCODING=b;TYPE=JPEG:"
    assert checker.error_code(data.card("3.0", photo + "A" * 5_000_000).encode(), settings=ALL_TYPES) is None
    answer = refusal(checker, data.card("3.0", photo + "A" * 40_000_000))
    assert answer == (Code.BROKEN, "has a line of more than 16000000 bytes")


def test_a_line_end_between_two_pieces_is_one_line_end(checker: Checker) -> None:
    soft_break = "NOTE;ENCODING=QUOTED-PRINTABLE:=\r\n<b>=\r\n"
    start = data.card("2.1").partition("NOTE:")[0]
    padding = "X" * ((1 << 20) - len(start) - len("X:\r\n") - len(soft_break.partition("\n")[0]))
    content = f"{start}X:{padding}\r\n{soft_break}\r\nEND:VCARD\r\n"
    assert content[(1 << 20) - 1 : (1 << 20) + 1] == "\r\n"
    assert checker.error_code(content.encode(), settings=ALL_TYPES) is None


def test_a_vcard_agent_is_a_card_within_a_card(checker: Checker) -> None:
    agent = "AGENT:\r\n" + data.card("2.1").removesuffix("\r\n")
    assert checker.error_code(data.card("2.1", agent).encode(), settings=ALL_TYPES) is None


BAD_STATEMENTS = {
    "cut": (data.statement().replace(b"</OFX>", b""), Code.BROKEN, "ends before its OFX element is closed"),
    "no-elements": (data.statement(body=b""), Code.BROKEN, "ends before its OFX element is closed"),
    "other-header": (data.statement().replace(b"OFXSGML", b"HTML"), Code.BROKEN, "has no valid OFX header"),
    "long-header": (data.statement().replace(b"100", b"100" + b" x" * 4000), Code.BROKEN, "has no valid OFX header"),
    "html": (data.statement(body=b"<html></html>"), Code.TYPE_NOT_ALLOWED, "programs may run"),
    "script": (data.statement(body=b"<OFX><SCRIPT>x()</SCRIPT></OFX>"), Code.TYPE_NOT_ALLOWED, "programs may run"),
    "attribute": (data.statement(body=b"<OFX><IMG onerror='x()'></OFX>"), Code.BROKEN, "not those of an OFX file"),
    "document-type": (data.statement(body=b"<!DOCTYPE a><OFX></OFX>"), Code.BROKEN, "not those of an OFX file"),
    "other-root": (data.statement(body=b"<QIF></QIF>"), Code.BROKEN, "not those of an OFX file"),
    "behind": (data.statement() + b"<OFX></OFX>", Code.BROKEN, "not those of an OFX file"),
    "crossed": (data.statement(body=b"<OFX></STMTTRN></OFX>"), Code.BROKEN, "not those of an OFX file"),
    "deep": (data.statement(body=b"<OFX>" + b"<A>" * 100_000), Code.BROKEN, "more than 256 levels deep"),
    "long-value": (data.statement(body=b"<OFX><A>" + b"x" * 9_000_000), Code.BROKEN, "not those of an OFX file"),
    "control": (data.statement(body=b"<OFX>\0</OFX>"), Code.BROKEN, "holds bytes that are not text"),
    "xml-entities": (
        data.xml_statement().replace(b"<?OFX", b'<!DOCTYPE OFX [<!ENTITY a "b">]><?OFX'),
        Code.BROKEN,
        "declares a document type",
    ),
    "xml-cut": (data.xml_statement()[:-3], Code.BROKEN, "not well formed"),
}


@pytest.mark.parametrize("name", BAD_STATEMENTS)
def test_damaged_statements_and_polyglots_are_refused(checker: Checker, name: str) -> None:
    content, expected, reason = BAD_STATEMENTS[name]
    code, message = refusal(checker, content, filename="extrato.ofx")
    assert (code, reason in message) == (expected, True), message
