"""Builds XML documents, vCards, OFX statements, plain zip archives and Lottie stickers. All persons are invented."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

INVOICE = (
    '<nfeProc xmlns="http://www.portalfiscal.inf.br/nfe" versao="4.00"><NFe><infNFe Id="NFe35" versao="4.00">'
    "<emit><xNome>Padaria São João Ltda</xNome></emit></infNFe></NFe>"
    '<Signature xmlns="http://www.w3.org/2000/09/xmldsig#"><SignedInfo/></Signature></nfeProc>'
)
STICKER_PART = "animation/animation.json"
ANIMATION: dict[str, Any] = {
    "v": "5.12.1", "fr": 60, "ip": 0, "op": 180, "w": 512, "h": 512, "nm": "aceno", "ddd": 0,
    "assets": [{"id": "foto", "w": 8, "h": 8, "u": "", "p": "data:image/png;base64,iVBORw0KGgo=", "e": 1}],
    "layers": [{"ty": 2, "refId": "foto", "ks": {"o": {"a": 0, "k": 100}}}, {"ty": 4, "shapes": []}],
}  # fmt: skip


def invoice(encoding: str) -> str:
    """An electronic invoice of Brazil (NF-e) that declares this encoding."""
    return f'<?xml version="1.0" encoding="{encoding}"?>\n{INVOICE}'


def card(version: str, *lines: str) -> str:
    """A vCard as WhatsApp and telephones write it, with a folded line."""
    text = [
        *("BEGIN:VCARD", f"VERSION:{version}", "N:Souza;Ana;;;", "FN:Ana Souza"),
        *("item1.TEL;type=CELL;waid=5511900000000:+55 11 90000-0000", "item1.X-ABLabel:Celular"),
        *('ADR;LABEL="Rua: A":;;Rua A;Recife;;;', "NOTE:primeira linha\\n", " segunda", *lines, "END:VCARD", ""),
    ]
    return "\r\n".join(text)


def old_card() -> bytes:
    """A vCard 2.1 with quoted-printable over two lines, and with base64 both folded and not."""
    return (
        b"BEGIN:VCARD\nVERSION:2.1\nN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:=4A=6F=C3=A3=6F;=\n=44=61=20\n"
        b"PHOTO;ENCODING=BASE64;JPEG:/9j/4AAQ\n SkZJRgABAQ\nAAAQABAAD/2wBD==\n\nTEL;CELL:+5511900000000\nEND:VCARD\n"
    )


def statement(*, line_end: bytes = b"\r\n", body: bytes | None = None) -> bytes:
    """An OFX 1.x statement in Windows-1252, in which elements with a value have no end tag."""
    names = (b"OFXHEADER:100", b"DATA:OFXSGML", b"VERSION:102", b"SECURITY:NONE", b"ENCODING:USASCII", b"CHARSET:1252")
    entry = b"<STMTTRN><TRNTYPE>DEBIT<TRNAMT>-12.50<FITID></FITID><MEMO>P\xe3o & caf\xe9</STMTTRN>"
    head = line_end.join((*names, b"COMPRESSION:NONE", b"OLDFILEUID:NONE", b"NEWFILEUID:NONE")) + line_end * 2
    return head + (b"<OFX>\r\n<BANKTRANLIST>" + entry * 3 + b"</BANKTRANLIST></OFX>\r\n" if body is None else body)


def xml_statement() -> bytes:
    """An OFX 2.x statement."""
    head = '<?xml version="1.0" encoding="UTF-8" standalone="no"?><?OFX OFXHEADER="200" VERSION="211" SECURITY="NONE"?>'
    return f"{head}<OFX><SIGNONMSGSRSV1><LANGUAGE>POR</LANGUAGE></SIGNONMSGSRSV1></OFX>".encode()


def archive(entries: Mapping[str, bytes | str], *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip archive with these entries."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as target:
        for name, content in entries.items():
            target.writestr(name, content)
    return out.getvalue()


def encrypted_archive() -> bytes:
    """An archive whose entry is marked as encrypted, in its header and in the directory."""
    content = bytearray(archive({"segredo.txt": b"x" * 50}, method=zipfile.ZIP_STORED))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def sticker(animation: Mapping[str, Any] | str | None = None, **entries: Any) -> bytes:
    """A Lottie sticker as WhatsApp packs it: the animation, a token that signs it, and what the pack is called."""
    main = ANIMATION if animation is None else animation
    parts = {
        STICKER_PART: main if isinstance(main, str) else json.dumps(main),
        f"{STICKER_PART}.trust_token": "e30.e30.AAAA",
        f"{STICKER_PART}.overridden_metadata": json.dumps({"sticker-pack-name": "Acenos", "emojis": ["👋"]}),
    }
    more = {name: json.dumps(part) if isinstance(part, dict) else part for name, part in entries.items()}
    return archive({**parts, **more})
