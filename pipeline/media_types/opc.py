"""Check of OPC packages: DOCX, XLSX, PPTX and related types. Runs in the sandbox. Layout: ECMA-376 part 2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.parsers import expat

from pipeline.media_types import ole
from pipeline.media_types.limits import parse_limits
from pipeline.media_types.rejections import check_active
from pipeline.media_types.zip_archive import Archive, open_archive
from pipeline.sandbox import Reason, Refusal

CONTENT_TYPES = "[Content_Types].xml"
MAX_CONTENT_TYPES = 4_000_000  # bytes, unpacked; a larger list of content types is `broken`
MAX_MAIN_PART = 256_000_000  # bytes, unpacked; a larger main part is `broken`
_OFFICE = "application/vnd.openxmlformats-officedocument"
# Types by the content type of the main part, in lower case.
MAIN_TYPES = {
    f"{_OFFICE}.wordprocessingml.document.main+xml": "docx",
    f"{_OFFICE}.spreadsheetml.sheet.main+xml": "xlsx",
    f"{_OFFICE}.presentationml.presentation.main+xml": "pptx",
    f"{_OFFICE}.presentationml.slideshow.main+xml": "ppsx",
    "application/vnd.ms-word.document.macroenabled.main+xml": "docm",
    "application/vnd.ms-excel.sheet.macroenabled.main+xml": "xlsm",
    "application/vnd.ms-powerpoint.presentation.macroenabled.main+xml": "pptm",
}
VBA_TYPE = "application/vnd.ms-office.vbaproject"


class _ContentTypes:
    """The content types of [Content_Types].xml by part and by file extension, all in lower case."""

    def __init__(self) -> None:
        self.parts: dict[str, str] = {}
        self.extensions: dict[str, str] = {}

    def add(self, element: str, attributes: dict[str, str]) -> None:
        content_type = attributes.get("ContentType", "").strip().lower()
        if element.endswith("Override"):
            self.parts[attributes.get("PartName", "").lower().lstrip("/")] = content_type
        elif element.endswith("Default"):
            self.extensions[attributes.get("Extension", "").lower()] = content_type

    def main(self) -> tuple[str, str] | None:
        """Name of the type and of the main part, or the part's extension (".xml"); None unless there is exactly one."""
        candidates = [
            (MAIN_TYPES[content_type], part) for part, content_type in self.parts.items() if content_type in MAIN_TYPES
        ]
        if not candidates:  # some producers declare the main type as the default of the extension .xml
            candidates = [
                (MAIN_TYPES[content_type], f".{extension}")
                for extension, content_type in self.extensions.items()
                if content_type in MAIN_TYPES
            ]
        return candidates[0] if len(candidates) == 1 else None


def main_type(file: int, *, expansion: int, entries: int) -> str | None:
    """Type of the package; None for other archives and other packages.

    Raises:
        PermanentError: `broken`, `expands_too_far`.
    """
    with open_archive(file, expansion=expansion, entries=entries) as archive:
        main = _content_types(archive).main() if archive.find(CONTENT_TYPES) else None
        return main[0] if main else None


def inspect(file: int, *, limits: str, **_: Any) -> dict[str, Any]:
    """The flag "macros" of an Office document. Every entry is unpacked, and the main part is parsed.

    An encrypted document is a package within an OLE file: it is checked as an OLE file and flagged "encrypted".

    Raises:
        PermanentError: `expands_too_far`, `type_not_allowed` (entry names that lead out of the archive),
            `active_content`, `broken`, also for XML with a document type, which OPC forbids.
    """
    if ole.is_compound(file):
        return ole.inspect(file, limits=limits)
    caps = parse_limits(limits)
    with open_archive(file, expansion=caps.expansion, entries=caps.entries) as archive:
        archive.check_entries()
        archive.check_bytes()
        types = _content_types(archive)
        _check_main_part(archive, types)
        flags = ("macros",) if _has_macros(archive, types) else ()
    check_active(flags, refuse=caps.refuse_active)
    return {"flags": list(flags)}


def _content_types(archive: Archive) -> _ContentTypes:
    part = archive.find(CONTENT_TYPES)
    if part is None:
        raise Refusal(Reason.OPC_NO_TYPES)
    types = _ContentTypes()
    _parse(archive.read(part, MAX_CONTENT_TYPES), types.add)
    return types


def _check_main_part(archive: Archive, types: _ContentTypes) -> None:
    main = types.main()
    if main is None:
        raise Refusal(Reason.OPC_NO_MAIN)
    if main[1].startswith("."):
        return
    part = archive.find(main[1])
    if part is None:
        raise Refusal(Reason.OPC_LACKS_MAIN)
    _parse(archive.read(part, MAX_MAIN_PART), None)


def _has_macros(archive: Archive, types: _ContentTypes) -> bool:
    has_project = any(entry.filename.lower().endswith("vbaproject.bin") for entry in archive.entries)
    return has_project or VBA_TYPE in {*types.parts.values(), *types.extensions.values()}


def _parse(text: bytes, on_element: Callable[[str, dict[str, str]], None] | None) -> None:
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse_doctype
    if on_element:
        parser.StartElementHandler = on_element
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        raise Refusal(Reason.XML_BROKEN) from error


def _refuse_doctype(*_: Any) -> None:
    raise Refusal(Reason.XML_DOCTYPE)
