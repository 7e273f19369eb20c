"""What a zip archive is: many formats are zip archives with certain entries. Runs in the sandbox."""

from __future__ import annotations

from pipeline.media_types.archives.zip_archive import Archive, open_archive
from pipeline.media_types.archives.zip_entries import comparable

CONTENT_TYPES = "[content_types].xml"  # of every OPC package: those that are no Office document are never accepted
NAMED_BY = "mimetype"  # the first entry of EPUB and OpenDocument, which holds their mime type
MAX_NAME = 200  # bytes of a mime type
APP = ".app/info.plist"  # of an app for iOS, in the folder Payload
APK, JAR, XPI = "application/vnd.android.package-archive", "application/java-archive", "application/x-xpinstall"
# What archives with an entry of this name are, checked in this order: a type of the table, or the mime type of content
# that is never accepted.
BY_ENTRY = {
    "animation/animation.json": "was",
    "androidmanifest.xml": APK,
    "base/manifest/androidmanifest.xml": APK,
    "classes.dex": APK,
    "meta-inf/mozilla.rsa": XPI,
    "install.rdf": XPI,
    "meta-inf/manifest.mf": JAR,
    "doc.kml": "application/vnd.google-earth.kmz",
}


def type_by_entries(file: int, *, expansion: int, entries: int) -> str | None:
    """Name of the type of an archive that is no Office document: "was" or "zip"; a mime type of what is never accepted.

    None for other packages.

    Raises:
        PermanentError: `broken`, `expands_too_far`.
    """
    with open_archive(file, expansion=expansion, entries=entries) as archive:
        return family(archive)


def family(archive: Archive) -> str | None:
    """The same as `type_by_entries`, for an open archive."""
    names = {comparable(entry.filename) for entry in archive.entries}
    if CONTENT_TYPES in names:
        return None
    if named := _own_name(archive):
        return named
    if any(name.startswith("payload/") and name.endswith(APP) for name in names):
        return "application/x-ios-app"
    return next((found for entry, found in BY_ENTRY.items() if entry in names), "zip")


def _own_name(archive: Archive) -> str | None:
    first = min(archive.entries, key=lambda entry: entry.header_offset, default=None)
    if first is None or first.filename != NAMED_BY or first.file_size > MAX_NAME:
        return None
    name = archive.read(first, MAX_NAME).strip().decode("ascii", "replace").lower()
    return name if name.startswith("application/") else None
