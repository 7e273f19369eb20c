"""The lists of an OPC package that say what its parts are: content types and relationships. Layout: ECMA-376 part 2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.parsers import expat

from pipeline.media_types.archives.zip_archive import Archive
from pipeline.media_types.archives.zip_entries import comparable
from pipeline.sandbox import Reason, Refusal

CONTENT_TYPES = "[Content_Types].xml"
RELATIONSHIPS = "_rels/.rels"
MAX_LIST = 4_000_000  # bytes, unpacked; a larger list is `broken`
# End of the relationship's type that names the main part; the namespaces of transitional and strict files differ.
MAIN_RELATIONSHIP = "/officedocument"


class ContentTypes:
    """The content types of [Content_Types].xml, in lower case, by part as the list names it and by file extension."""

    def __init__(self) -> None:
        self.parts: dict[str, str] = {}
        self.extensions: dict[str, str] = {}

    def add(self, element: str, attributes: dict[str, str]) -> None:
        """Adds what an element of the list declares. Called by the XML parser."""
        content_type = attributes.get("ContentType", "").strip().lower()
        if element.endswith("Override"):
            self.parts[attributes.get("PartName", "")] = content_type
        elif element.endswith("Default"):
            self.extensions[attributes.get("Extension", "").lower()] = content_type

    def of(self, part: str) -> str | None:
        """The content type of a part, named as `comparable` does; None if the list does not declare it."""
        declared = self.parts.get(f"/{part}")
        if declared is None:  # most lists name parts in lower case; only others are searched
            declared = next((kind for name, kind in self.parts.items() if comparable(name) == part), None)
        return declared or self.extensions.get(part.rpartition(".")[2])


def content_types(archive: Archive) -> ContentTypes | None:
    """The content types of the package; None if the archive has no such list.

    Raises:
        PermanentError: `broken`.
    """
    entry = archive.find(CONTENT_TYPES)
    if entry is None:
        return None
    types = ContentTypes()
    parse_xml(archive.read(entry, MAX_LIST), types.add)
    return types


def related_main_part(archive: Archive) -> str | None:
    """Name of the main part by the relationships of the package; None if they name no part that it has.

    Raises:
        PermanentError: `broken`.
    """
    entry = archive.find(RELATIONSHIPS)
    if entry is None:
        return None
    targets: list[str] = []

    def add(element: str, attributes: dict[str, str]) -> None:
        is_main = attributes.get("Type", "").lower().endswith(MAIN_RELATIONSHIP)
        if element.endswith("Relationship") and is_main and attributes.get("TargetMode") != "External":
            targets.append(comparable(attributes.get("Target", "").removeprefix("./")))

    parse_xml(archive.read(entry, MAX_LIST), add)
    return next((target for target in targets if archive.find(target)), None)


def parse_xml(text: bytes, on_element: Callable[[str, dict[str, str]], None] | None = None) -> None:
    """Parses XML without a document type, which OPC forbids, and passes each element's name and attributes.

    Raises:
        PermanentError: `broken`.
    """
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
