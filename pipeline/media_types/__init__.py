"""The media types that Esteira knows, as data. A new type is one row here; decoders are named, not imported.

Modules of this package that open untrusted bytes (examine, sniff, image, audio_video, document, ole, opc and what they
use) are loaded by the children of the sandbox only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from pipeline.errors import SettingsError
from pipeline.values.kinds import Kind

# Loaded when a child of the sandbox starts, so that no attachment waits for it.
DECODER_MODULES = (
    "pipeline.media_types.examine",
    "pipeline.media_types.image",
    "pipeline.media_types.audio_video",
    "pipeline.media_types.pdf",
    "pipeline.media_types.text",
    "pipeline.media_types.ole",
    "pipeline.media_types.opc",
)


@dataclass(frozen=True)
class MediaType:
    """One type. `name` is what ALLOWED_TYPES, sniff and the checks call it.

    `mime` and `ext` are what is stored. `kinds` are the kinds that it may be declared as, the natural one first;
    where video and audio are among them, the streams decide which of the two it is.
    `check`, "module:function", decodes it in the sandbox: it is called with `path`, `name`, `kind` and `limits` (see
    Limits.to_json), raises PermanentError and returns the fields of Facts. `also` lists other names under which senders
    declare it (mime types, and extensions with a dot), none of which counts as a mismatch. Not `default`: only if
    ALLOWED_TYPES names it.
    """

    name: str
    mime: str
    ext: str
    kinds: tuple[Kind, ...]
    check: str
    also: tuple[str, ...] = ()
    default: bool = True

    @property
    def preview(self) -> str | None:
        """What draws a preview of it in the sandbox, "module:function"; None if there is nothing to show.

        It is called with `path`, `name` and `limits`, and returns the fields of pipeline.steps.preview.Rendered.
        """
        return PREVIEWS.get(self.check)

    @cached_property
    def mimes(self) -> frozenset[str]:
        """Every mime type that means this type."""
        return frozenset({self.mime, *(alias for alias in self.also if "/" in alias)})

    @cached_property
    def exts(self) -> frozenset[str]:
        """Every file extension that means this type, without the dot."""
        return frozenset({self.ext, *(alias[1:] for alias in self.also if alias.startswith("."))})

    def kind_for(self, declared: Kind | None, *, sound_only: bool) -> Kind:
        """The declared kind if content of this type may be of it, else the natural one."""
        unfit = {Kind.VIDEO} if sound_only else {Kind.AUDIO, Kind.PTT}
        kinds = [kind for kind in self.kinds if Kind.VIDEO not in self.kinds or kind not in unfit]
        return declared if declared in kinds else kinds[0]


_IMAGE = (Kind.IMAGE, Kind.DOCUMENT)
_STICKER = (Kind.IMAGE, Kind.STICKER, Kind.DOCUMENT)
_VIDEO = (Kind.VIDEO, Kind.DOCUMENT)
_STREAM = (Kind.VIDEO, Kind.AUDIO, Kind.PTT, Kind.DOCUMENT)
_AUDIO = (Kind.AUDIO, Kind.PTT, Kind.DOCUMENT)
_DOCUMENT = (Kind.DOCUMENT,)

_PICTURE = "pipeline.media_types.image:inspect"
_STREAMS = "pipeline.media_types.audio_video:inspect"
_PDF = "pipeline.media_types.pdf:inspect"
_TEXT = "pipeline.media_types.text:inspect_text"
_RTF = "pipeline.media_types.text:inspect_rtf"
_OLE = "pipeline.media_types.ole:inspect"
_OPC = "pipeline.media_types.opc:inspect"

PREVIEWS = {
    _PICTURE: "pipeline.media_types.previews.image:render",
    _STREAMS: "pipeline.media_types.previews.audio_video:render",
    _PDF: "pipeline.media_types.previews.pdf:render",
}
PREVIEW_MODULES = tuple(name.partition(":")[0] for name in PREVIEWS.values())

_WORD = "application/vnd.ms-word"
_EXCEL = "application/vnd.ms-excel"
_POWERPOINT = "application/vnd.ms-powerpoint"
_OFFICE = "application/vnd.openxmlformats-officedocument"

_ROWS = (
    MediaType("jpeg", "image/jpeg", "jpeg", _IMAGE, _PICTURE, ("image/jpg", "image/pjpeg", ".jpg", ".jpe", ".jfif")),
    MediaType("png", "image/png", "png", _IMAGE, _PICTURE, ("image/apng", "image/x-png", ".apng")),
    MediaType("webp", "image/webp", "webp", _STICKER, _PICTURE),
    MediaType("gif", "image/gif", "gif", _IMAGE, _PICTURE),
    MediaType("heic", "image/heic", "heic", _IMAGE, _PICTURE, ("image/heif", "image/heic-sequence", ".heif", ".hif")),
    MediaType("avif", "image/avif", "avif", _IMAGE, _PICTURE, default=False),
    MediaType("mp4", "video/mp4", "mp4", _VIDEO, _STREAMS, ("video/x-m4v", ".m4v")),
    MediaType("mov", "video/quicktime", "mov", _STREAM, _STREAMS, ("audio/quicktime", ".qt", ".qta")),
    MediaType("avi", "video/x-msvideo", "avi", _STREAM, _STREAMS, ("video/avi", "video/msvideo", "video/vnd.avi")),
    MediaType("3gp", "video/3gpp", "3gp", _VIDEO, _STREAMS, ("video/3gpp2", "video/3gp", ".3gpp", ".3g2")),
    MediaType("mkv", "video/x-matroska", "mkv", _STREAM, _STREAMS, ("audio/x-matroska", ".mka"), default=False),
    MediaType("webm", "video/webm", "webm", _STREAM, _STREAMS, ("audio/webm", ".weba"), default=False),
    MediaType("ogg", "audio/ogg", "ogg", _AUDIO, _STREAMS, ("audio/opus", "application/ogg", ".oga", ".opus")),
    MediaType("mp3", "audio/mpeg", "mp3", _AUDIO, _STREAMS, ("audio/mp3", "audio/x-mp3", "audio/mpeg3", ".mpga")),
    MediaType("wav", "audio/wav", "wav", _AUDIO, _STREAMS, ("audio/x-wav", "audio/wave", "audio/vnd.wave", ".wave")),
    MediaType("m4a", "audio/mp4", "m4a", _AUDIO, _STREAMS, ("audio/x-m4a", "audio/m4a", "audio/aac", ".mp4", ".m4b")),
    MediaType("aac", "audio/aac", "aac", _AUDIO, _STREAMS, ("audio/aacp", "audio/x-aac", "audio/x-hx-aac-adts")),
    MediaType("amr", "audio/amr", "amr", _AUDIO, _STREAMS, ("audio/amr-wb", "audio/3gpp", ".awb")),
    MediaType("3ga", "audio/3gpp", "3gp", _AUDIO, _STREAMS, ("audio/3gpp2", "audio/amr", ".3ga", ".3gpp")),
    MediaType("flac", "audio/flac", "flac", _AUDIO, _STREAMS, ("audio/x-flac",), default=False),
    MediaType("pdf", "application/pdf", "pdf", _DOCUMENT, _PDF, ("application/x-pdf",)),
    MediaType("doc", "application/msword", "doc", _DOCUMENT, _OLE, (".dot",)),
    MediaType("xls", _EXCEL, "xls", _DOCUMENT, _OLE, ("application/msexcel", "application/x-msexcel", ".xlt")),
    MediaType("ppt", _POWERPOINT, "ppt", _DOCUMENT, _OLE, ("application/mspowerpoint", ".pps", ".pot"), default=False),
    MediaType("docx", f"{_OFFICE}.wordprocessingml.document", "docx", _DOCUMENT, _OPC),
    MediaType("xlsx", f"{_OFFICE}.spreadsheetml.sheet", "xlsx", _DOCUMENT, _OPC),
    MediaType("pptx", f"{_OFFICE}.presentationml.presentation", "pptx", _DOCUMENT, _OPC),
    MediaType("ppsx", f"{_OFFICE}.presentationml.slideshow", "ppsx", _DOCUMENT, _OPC),
    MediaType("docm", f"{_WORD}.document.macroenabled.12", "docm", _DOCUMENT, _OPC),
    MediaType("xlsm", f"{_EXCEL}.sheet.macroenabled.12", "xlsm", _DOCUMENT, _OPC),
    MediaType("pptm", f"{_POWERPOINT}.presentation.macroenabled.12", "pptm", _DOCUMENT, _OPC),
    MediaType("text", "text/plain", "txt", _DOCUMENT, _TEXT, (".text", ".log"), default=False),
    MediaType("csv", "text/csv", "csv", _DOCUMENT, _TEXT, ("application/csv", "text/comma-separated-values"), False),
    MediaType("rtf", "application/rtf", "rtf", _DOCUMENT, _RTF, ("text/rtf", "text/richtext"), default=False),
)

MEDIA_TYPES: dict[str, MediaType] = {row.name: row for row in _ROWS}

OOXML_TYPES = ("docx", "xlsx", "pptx", "ppsx", "docm", "xlsm", "pptm")  # what may lie behind an EncryptedPackage
OFFICE_TYPES = frozenset({"pdf", "doc", "xls", "ppt", "rtf", *OOXML_TYPES})


def media_type_for(mime: str | None, ext: str | None) -> MediaType | None:
    """The type that is stored under this mime type and extension."""
    return next((row for row in MEDIA_TYPES.values() if (row.mime, row.ext) == (mime, ext)), None)


def allowed_types(named: Iterable[str]) -> frozenset[str]:
    """The names of the types that are let in: those on by default, and those that ALLOWED_TYPES names.

    Raises:
        SettingsError: ALLOWED_TYPES names a type that is not in the table.
    """
    wanted = frozenset(name.lower() for name in named)
    if unknown := sorted(wanted - MEDIA_TYPES.keys()):
        extra = ", ".join(row.name for row in _ROWS if not row.default)
        raise SettingsError(f"ALLOWED_TYPES {unknown[0]!r}: no such type; beyond the defaults there are {extra}")
    return wanted | {row.name for row in _ROWS if row.default}
