"""Check of OPC packages: DOCX, XLSX, PPTX and related types. Runs in the sandbox. Layout: ECMA-376 part 2."""

from __future__ import annotations

from typing import Any

from pipeline.media_types.archives.zip_archive import Archive, open_archive
from pipeline.media_types.limits import parse_limits
from pipeline.media_types.office import ole
from pipeline.media_types.office.opc_lists import ContentTypes, content_types, parse_xml, related_main_part
from pipeline.media_types.rejections import check_active
from pipeline.sandbox import Reason, Refusal

MAX_MAIN_PART = 256_000_000  # bytes, unpacked; a larger main part is `broken`
_OFFICE = "application/vnd.openxmlformats-officedocument"
_WORD, _EXCEL, _POWERPOINT = (f"application/vnd.ms-{program}" for program in ("word", "excel", "powerpoint"))
BINARY_WORKBOOK = f"{_EXCEL}.sheet.binary.macroenabled.main"
# Types by the content type of the main part, in lower case.
MAIN_TYPES = {
    f"{_OFFICE}.wordprocessingml.document.main+xml": "docx",
    f"{_OFFICE}.wordprocessingml.template.main+xml": "dotx",
    f"{_OFFICE}.spreadsheetml.sheet.main+xml": "xlsx",
    f"{_OFFICE}.spreadsheetml.template.main+xml": "xltx",
    f"{_OFFICE}.presentationml.presentation.main+xml": "pptx",
    f"{_OFFICE}.presentationml.slideshow.main+xml": "ppsx",
    f"{_OFFICE}.presentationml.template.main+xml": "potx",
    f"{_WORD}.document.macroenabled.main+xml": "docm",
    f"{_WORD}.template.macroenabledtemplate.main+xml": "dotm",
    f"{_EXCEL}.sheet.macroenabled.main+xml": "xlsm",
    f"{_EXCEL}.template.macroenabled.main+xml": "xltm",
    f"{_POWERPOINT}.presentation.macroenabled.main+xml": "pptm",
    f"{_POWERPOINT}.slideshow.macroenabled.main+xml": "ppsm",
    f"{_POWERPOINT}.template.macroenabled.main+xml": "potm",
    BINARY_WORKBOOK: "xlsb",
}
# Mime types of packages that are never accepted, by a content type that only they have.
OTHER_PACKAGES = {
    f"{_EXCEL}.addin.macroenabled.main+xml": f"{_EXCEL}.addin.macroenabled.12",
    f"{_POWERPOINT}.addin.macroenabled.main+xml": f"{_POWERPOINT}.addin.macroenabled.12",
    "application/vnd.ms-visio.drawing.main+xml": "application/vnd.ms-visio.drawing",
    "application/vnd.ms-visio.drawing.macroenabled.main+xml": "application/vnd.ms-visio.drawing.macroenabled.12",
    "application/vnd.ms-visio.template.main+xml": "application/vnd.ms-visio.template",
    "application/vnd.ms-visio.stencil.main+xml": "application/vnd.ms-visio.stencil",
    "application/vnd.ms-package.xps-fixeddocumentsequence+xml": "application/vnd.ms-xpsdocument",
    f"{_OFFICE}.thememanager+xml": "application/vnd.ms-officetheme",
}
BEGIN_BOOK = b"\x83\x01"  # the first record of a binary workbook; [MS-XLSB] 2.4.12
# Content types of parts with macros: VBA projects, and macro sheets as XML and in binary form.
MACRO_TYPES = frozenset(
    {"application/vnd.ms-office.vbaproject"}
    | {f"{_EXCEL}.{name}{form}" for name in ("macrosheet", "intlmacrosheet") for form in ("", "+xml")}
)


def main_type(file: int, *, expansion: int, entries: int) -> str | None:
    """Name of the package's type, or the mime type of one that is never accepted; None for other archives.

    Raises:
        PermanentError: `broken`, `expands_too_far`.
    """
    with open_archive(file, expansion=expansion, entries=entries) as archive:
        types = content_types(archive)
        if types is None:
            return None
        main = _main_part(archive, types)
        return main[0] if main else _other_package(types)


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
        types = content_types(archive)
        if types is None:
            raise Refusal(Reason.OPC_NO_TYPES)
        _check_main_part(archive, types)
        archive.check_bytes()
        flags = ("macros",) if _has_macros(archive, types) else ()
    check_active(flags, refuse=caps.refuse_active)
    return {"flags": list(flags)}


def _main_part(archive: Archive, types: ContentTypes) -> tuple[str, str] | None:
    """Name of the type and of the main part, or the part's extension (".xml"); None for a package of another type.

    The relationships name the main part. Without them it is the only part that has a main part's content type; some
    producers declare that type as the default of the extension .xml.
    """
    part = related_main_part(archive)
    if part is not None:
        name = MAIN_TYPES.get(types.of(part) or "")
        return (name, part) if name else None
    for declared, prefix in ((types.parts, ""), (types.extensions, ".")):
        main = [(MAIN_TYPES[kind], prefix + name) for name, kind in declared.items() if kind in MAIN_TYPES]
        if main:
            return main[0] if len(main) == 1 else None
    return None


def _other_package(types: ContentTypes) -> str | None:
    declared = {*types.parts.values(), *types.extensions.values()}
    return next((mime for content_type, mime in OTHER_PACKAGES.items() if content_type in declared), None)


def _check_main_part(archive: Archive, types: ContentTypes) -> None:
    main = _main_part(archive, types)
    if main is None:
        raise Refusal(Reason.OPC_NO_MAIN)
    name, part = main
    if part.startswith("."):
        return
    entry = archive.find(part)
    if entry is None:
        raise Refusal(Reason.OPC_LACKS_MAIN)
    content = archive.read(entry, MAX_MAIN_PART)
    if name != MAIN_TYPES[BINARY_WORKBOOK]:
        parse_xml(content)
    elif not content.startswith(BEGIN_BOOK):
        raise Refusal(Reason.OPC_NO_EXCEL)


def _has_macros(archive: Archive, types: ContentTypes) -> bool:
    has_project = any(entry.filename.lower().endswith("vbaproject.bin") for entry in archive.entries)
    return has_project or not MACRO_TYPES.isdisjoint({*types.parts.values(), *types.extensions.values()})
