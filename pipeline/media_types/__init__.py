"""The media types that Esteira accepts, as a table of data. A new type is one row of MEDIA_TYPES.

Rows name their check and preview functions instead of importing them: the modules of this package that parse untrusted
bytes, and the libraries that they use, are loaded by child processes of the sandbox only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from pipeline.errors import SettingsError
from pipeline.values.kinds import Kind

# Modules that libraries import at their first use. A confined child may not be able to read the interpreter any more,
# if that belongs to root alone.
_LATE_MODULES = (
    *(f"encodings.{name}" for name in ("ascii", "latin_1", "cp437", "cp1252", "iso8859_15", "utf_8_sig")),
    *(f"encodings.{name}" for name in ("utf_16", "utf_16_le", "utf_16_be")),
    *("PIL.BmpImagePlugin", "PIL.PpmImagePlugin", "av.subtitles.stream", "av.subtitles.codeccontext"),
)
# Imported when a child of the decoding sandbox starts: a confined child imports nothing.
DECODER_MODULES = (
    *_LATE_MODULES,
    "pipeline.media_types.examine",
    "pipeline.media_types.pictures.image",
    "pipeline.media_types.recordings.audio_video",
    "pipeline.media_types.documents.pdf",
    "pipeline.media_types.documents.text",
    "pipeline.media_types.office.ole",
    "pipeline.media_types.office.opc",
    "pipeline.media_types.documents.xml_document",
    "pipeline.media_types.documents.vcard",
    "pipeline.media_types.documents.ofx",
    "pipeline.media_types.archives.zip_file",
    "pipeline.media_types.pictures.lottie",
)


@dataclass(frozen=True)
class MediaType:
    """One media type. `name` is used in ALLOWED_TYPES and by `sniff`.

    `mime` and `ext` are stored with the attachment. `kinds` are the kinds that it may be declared as, the natural kind
    first; if both video and audio are among them, the streams decide between the two.
    `check`, "module:function", validates a file in the sandbox: it is called with `file`, `name`, `kind` and `limits`
    (Limits.to_json), returns the fields of Facts and raises Refusal. `aliases` are other mime types, and file
    extensions with a dot, under which senders declare this type; none of them counts as a mismatch. A type that is not
    `default` is accepted only if ALLOWED_TYPES names it.
    """

    name: str
    mime: str
    ext: str
    kinds: tuple[Kind, ...]
    check: str
    aliases: tuple[str, ...] = ()
    default: bool = True

    @property
    def preview(self) -> str | None:
        """Function that renders a preview in the sandbox, "module:function"; None if the type has no preview.

        It is called with `file`, `name` and `limits`, and returns the fields of pipeline.steps.preview.Rendered.
        """
        return PREVIEWS.get(self.check)

    @cached_property
    def mimes(self) -> frozenset[str]:
        """All mime types of this type."""
        return frozenset({self.mime, *(alias for alias in self.aliases if "/" in alias)})

    @cached_property
    def exts(self) -> frozenset[str]:
        """All file extensions of this type, without the dot."""
        return frozenset({self.ext, *(alias[1:] for alias in self.aliases if alias.startswith("."))})

    def kind_for(self, declared: Kind | None, *, sound_only: bool) -> Kind:
        """The declared kind if a file of this type may have it, else the natural kind."""
        impossible = {Kind.VIDEO} if sound_only else {Kind.AUDIO, Kind.PTT}
        kinds = [kind for kind in self.kinds if Kind.VIDEO not in self.kinds or kind not in impossible]
        return declared if declared in kinds else kinds[0]


_IMAGE = (Kind.IMAGE, Kind.DOCUMENT)
_STICKER = (Kind.IMAGE, Kind.STICKER, Kind.DOCUMENT)
_ONLY_STICKER = (Kind.STICKER, Kind.DOCUMENT)
_VIDEO = (Kind.VIDEO, Kind.DOCUMENT)
_MEDIA = (Kind.VIDEO, Kind.AUDIO, Kind.PTT, Kind.DOCUMENT)
_AUDIO = (Kind.AUDIO, Kind.PTT, Kind.DOCUMENT)
_DOCUMENT = (Kind.DOCUMENT,)

# Checks, by the family of types that they validate.
_AS_IMAGE = "pipeline.media_types.pictures.image:inspect"
_AS_MEDIA = "pipeline.media_types.recordings.audio_video:inspect"
_AS_PDF = "pipeline.media_types.documents.pdf:inspect"
_AS_TEXT = "pipeline.media_types.documents.text:inspect_text"
_AS_RTF = "pipeline.media_types.documents.text:inspect_rtf"
_AS_OLE = "pipeline.media_types.office.ole:inspect"
_AS_OPC = "pipeline.media_types.office.opc:inspect"
_AS_XML = "pipeline.media_types.documents.xml_document:inspect"
_AS_VCARD = "pipeline.media_types.documents.vcard:inspect"
_AS_OFX = "pipeline.media_types.documents.ofx:inspect"
_AS_ZIP = "pipeline.media_types.archives.zip_file:inspect"
_AS_LOTTIE = "pipeline.media_types.pictures.lottie:inspect"

# Preview functions by the check of the types that they render.
PREVIEWS = {
    _AS_IMAGE: "pipeline.media_types.previews.image:render",
    _AS_MEDIA: "pipeline.media_types.previews.audio_video:render",
    _AS_PDF: "pipeline.media_types.previews.pdf:render",
}
# Imported when a child of the preview sandbox starts.
PREVIEW_MODULES = (*_LATE_MODULES, *(name.partition(":")[0] for name in PREVIEWS.values()))

_WORD = "application/vnd.ms-word"
_EXCEL = "application/vnd.ms-excel"
_POWERPOINT = "application/vnd.ms-powerpoint"
_OFFICE = "application/vnd.openxmlformats-officedocument"
_CARDS = ("text/x-vcard", "text/directory", "text/vcf", "application/vcard", ".vcard")
_STATEMENTS = ("application/ofx", "application/vnd.intu.qfx", "text/ofx", "application/xml", "text/xml", ".qfx")

_ROWS = (
    MediaType("jpeg", "image/jpeg", "jpeg", _IMAGE, _AS_IMAGE, ("image/jpg", "image/pjpeg", ".jpg", ".jpe", ".jfif")),
    MediaType("png", "image/png", "png", _IMAGE, _AS_IMAGE, ("image/apng", "image/x-png", ".apng")),
    MediaType("webp", "image/webp", "webp", _STICKER, _AS_IMAGE),
    MediaType("gif", "image/gif", "gif", _IMAGE, _AS_IMAGE),
    MediaType("heic", "image/heic", "heic", _IMAGE, _AS_IMAGE, ("image/heif", "image/heic-sequence", ".heif", ".hif")),
    MediaType("avif", "image/avif", "avif", _IMAGE, _AS_IMAGE, default=False),
    MediaType("mp4", "video/mp4", "mp4", _VIDEO, _AS_MEDIA, ("video/x-m4v", ".m4v")),
    MediaType("mov", "video/quicktime", "mov", _MEDIA, _AS_MEDIA, ("audio/quicktime", ".qt", ".qta")),
    MediaType("avi", "video/x-msvideo", "avi", _MEDIA, _AS_MEDIA, ("video/avi", "video/msvideo", "video/vnd.avi")),
    MediaType("3gp", "video/3gpp", "3gp", _VIDEO, _AS_MEDIA, ("video/3gpp2", "video/3gp", ".3gpp", ".3g2")),
    MediaType("mkv", "video/x-matroska", "mkv", _MEDIA, _AS_MEDIA, ("audio/x-matroska", ".mka"), default=False),
    MediaType("webm", "video/webm", "webm", _MEDIA, _AS_MEDIA, ("audio/webm", ".weba"), default=False),
    MediaType("ogg", "audio/ogg", "ogg", _AUDIO, _AS_MEDIA, ("audio/opus", "application/ogg", ".oga", ".opus")),
    MediaType("mp3", "audio/mpeg", "mp3", _AUDIO, _AS_MEDIA, ("audio/mp3", "audio/x-mp3", "audio/mpeg3", ".mpga")),
    MediaType("wav", "audio/wav", "wav", _AUDIO, _AS_MEDIA, ("audio/x-wav", "audio/wave", "audio/vnd.wave", ".wave")),
    MediaType("m4a", "audio/mp4", "m4a", _AUDIO, _AS_MEDIA, ("audio/x-m4a", "audio/m4a", "audio/aac", ".mp4", ".m4b")),
    MediaType("aac", "audio/aac", "aac", _AUDIO, _AS_MEDIA, ("audio/aacp", "audio/x-aac", "audio/x-hx-aac-adts")),
    MediaType("amr", "audio/amr", "amr", _AUDIO, _AS_MEDIA, ("audio/amr-wb", "audio/3gpp", ".awb")),
    MediaType("3ga", "audio/3gpp", "3gp", _AUDIO, _AS_MEDIA, ("audio/3gpp2", "audio/amr", ".3ga", ".3gpp")),
    MediaType("flac", "audio/flac", "flac", _AUDIO, _AS_MEDIA, ("audio/x-flac",), default=False),
    MediaType("pdf", "application/pdf", "pdf", _DOCUMENT, _AS_PDF, ("application/x-pdf",)),
    MediaType("doc", "application/msword", "doc", _DOCUMENT, _AS_OLE, (".dot",)),
    MediaType("xls", _EXCEL, "xls", _DOCUMENT, _AS_OLE, ("application/msexcel", "application/x-msexcel", ".xlt")),
    MediaType(
        "ppt", _POWERPOINT, "ppt", _DOCUMENT, _AS_OLE, ("application/mspowerpoint", ".pps", ".pot"), default=False
    ),
    MediaType("docx", f"{_OFFICE}.wordprocessingml.document", "docx", _DOCUMENT, _AS_OPC),
    MediaType("xlsx", f"{_OFFICE}.spreadsheetml.sheet", "xlsx", _DOCUMENT, _AS_OPC),
    MediaType("pptx", f"{_OFFICE}.presentationml.presentation", "pptx", _DOCUMENT, _AS_OPC),
    MediaType("ppsx", f"{_OFFICE}.presentationml.slideshow", "ppsx", _DOCUMENT, _AS_OPC),
    MediaType("docm", f"{_WORD}.document.macroenabled.12", "docm", _DOCUMENT, _AS_OPC),
    MediaType("xlsm", f"{_EXCEL}.sheet.macroenabled.12", "xlsm", _DOCUMENT, _AS_OPC),
    MediaType("pptm", f"{_POWERPOINT}.presentation.macroenabled.12", "pptm", _DOCUMENT, _AS_OPC),
    MediaType("dotx", f"{_OFFICE}.wordprocessingml.template", "dotx", _DOCUMENT, _AS_OPC, default=False),
    MediaType("dotm", f"{_WORD}.template.macroenabled.12", "dotm", _DOCUMENT, _AS_OPC, default=False),
    MediaType("xltx", f"{_OFFICE}.spreadsheetml.template", "xltx", _DOCUMENT, _AS_OPC, default=False),
    MediaType("xltm", f"{_EXCEL}.template.macroenabled.12", "xltm", _DOCUMENT, _AS_OPC, default=False),
    MediaType("potx", f"{_OFFICE}.presentationml.template", "potx", _DOCUMENT, _AS_OPC, default=False),
    MediaType("potm", f"{_POWERPOINT}.template.macroenabled.12", "potm", _DOCUMENT, _AS_OPC, default=False),
    MediaType("ppsm", f"{_POWERPOINT}.slideshow.macroenabled.12", "ppsm", _DOCUMENT, _AS_OPC, default=False),
    MediaType("xlsb", f"{_EXCEL}.sheet.binary.macroenabled.12", "xlsb", _DOCUMENT, _AS_OPC, default=False),
    MediaType("text", "text/plain", "txt", _DOCUMENT, _AS_TEXT, (".text", ".log"), default=False),
    MediaType("csv", "text/csv", "csv", _DOCUMENT, _AS_TEXT, ("application/csv", "text/comma-separated-values"), False),
    MediaType("rtf", "application/rtf", "rtf", _DOCUMENT, _AS_RTF, ("text/rtf", "text/richtext"), default=False),
    MediaType("was", "application/was", "was", _ONLY_STICKER, _AS_LOTTIE),
    MediaType("xml", "application/xml", "xml", _DOCUMENT, _AS_XML, ("text/xml",), default=False),
    MediaType("vcf", "text/vcard", "vcf", _DOCUMENT, _AS_VCARD, _CARDS, default=False),
    MediaType("ofx", "application/x-ofx", "ofx", _DOCUMENT, _AS_OFX, _STATEMENTS, default=False),
    MediaType("zip", "application/zip", "zip", _DOCUMENT, _AS_ZIP, ("application/x-zip-compressed",), default=False),
)

MEDIA_TYPES: dict[str, MediaType] = {media_type.name: media_type for media_type in _ROWS}

# Types that encryption wraps in an OLE file.
OOXML_TYPES = tuple(row.name for row in _ROWS if row.check == _AS_OPC)
OFFICE_TYPES = frozenset({"pdf", "doc", "xls", "ppt", "rtf", *OOXML_TYPES})


def media_type_for(mime: str | None, ext: str | None) -> MediaType | None:
    """The type that is stored with this mime type and extension."""
    return next((row for row in MEDIA_TYPES.values() if (row.mime, row.ext) == (mime, ext)), None)


def allowed_types(names: Iterable[str]) -> frozenset[str]:
    """Names of the accepted types: the default types, and those that ALLOWED_TYPES names.

    Raises:
        SettingsError: ALLOWED_TYPES names a type that is not in the table.
    """
    requested = frozenset(name.lower() for name in names)
    if unknown := sorted(requested - MEDIA_TYPES.keys()):
        optional = ", ".join(row.name for row in _ROWS if not row.default)
        raise SettingsError(f"ALLOWED_TYPES {unknown[0]!r}: unknown type; the types that can be added are {optional}")
    return requested | {row.name for row in _ROWS if row.default}
