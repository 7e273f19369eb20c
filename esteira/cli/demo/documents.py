"""Office documents for the demo. DOC and XLS are files saved by an office program: no Python library writes them."""

from __future__ import annotations

import io
import zipfile
from importlib.resources import files

TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
LINKS = "http://schemas.openxmlformats.org/package/2006/relationships"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
SLIDES = "http://schemas.openxmlformats.org/presentationml/2006/main"
MAIN = "application/vnd.openxmlformats-officedocument.{}.main+xml"


def packaged_file(name: str) -> bytes:
    """A file that is part of the package."""
    return (files("esteira.cli.demo") / "files" / name).read_bytes()


def docx(text: str) -> bytes:
    """A Word document of one paragraph (ECMA-376, WordprocessingML)."""
    body = f'<w:document xmlns:w="{WORD}"><w:body><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:body></w:document>'
    return _package("word/document.xml", MAIN.format("wordprocessingml.document"), {"word/document.xml": body})


def xlsx(text: str) -> bytes:
    """An Excel workbook of one cell (ECMA-376, SpreadsheetML)."""
    book = (
        f'<workbook xmlns="{SHEET}" xmlns:r="{OFFICE}">'
        '<sheets><sheet name="Sheet1" sheetId="1" r:id="rId1"/></sheets></workbook>'
    )
    cell = f'<c r="A1" t="inlineStr"><is><t>{text}</t></is></c>'
    sheet = f'<worksheet xmlns="{SHEET}"><sheetData><row r="1">{cell}</row></sheetData></worksheet>'
    parts = {
        "xl/workbook.xml": book,
        "xl/worksheets/sheet1.xml": sheet,
        "xl/_rels/workbook.xml.rels": _links("worksheet", "worksheets/sheet1.xml"),
    }
    return _package("xl/workbook.xml", MAIN.format("spreadsheetml.sheet"), parts)


def pptx() -> bytes:
    """A presentation without slides (ECMA-376, PresentationML)."""
    show = f'<p:presentation xmlns:p="{SLIDES}"><p:sldSz cx="9144000" cy="6858000"/></p:presentation>'
    name = "ppt/presentation.xml"
    return _package(name, MAIN.format("presentationml.presentation"), {name: show})


def _package(main: str, content_type: str, parts: dict[str, str]) -> bytes:
    types = (
        f'<Types xmlns="{TYPES}">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/{main}" ContentType="{content_type}"/></Types>'
    )
    parts_by_name = {"[Content_Types].xml": types, "_rels/.rels": _links("officeDocument", main), **parts}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as package:
        for name, text in parts_by_name.items():
            package.writestr(name, f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n{text}')
    return out.getvalue()


def _links(kind: str, target: str) -> str:
    link = f'<Relationship Id="rId1" Type="{OFFICE}/{kind}" Target="{target}"/>'
    return f'<Relationships xmlns="{LINKS}">{link}</Relationships>'
