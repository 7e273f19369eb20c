"""Reads what decoders in the sandbox say about a file. Nothing else of an answer is believed, or shown to anyone."""

from __future__ import annotations

import mimetypes
from typing import Any, NamedTuple

from pipeline.errors import PermanentError
from pipeline.media_types import MEDIA_TYPES
from pipeline.sandbox import InvalidAnswerError, parse_refusal

ENCRYPTED_OOXML = "encrypted-ooxml"  # the type of an encrypted DOCX, XLSX or PPTX: an OLE file
UNKNOWN_MIME = "application/octet-stream"
# Mime types that libmagic gives to what senders send and Esteira does not accept, beyond the standard library's table.
_OTHER_MIMES = """
    application/dicom application/epub+zip application/gzip application/java-archive application/pgp-encrypted
    application/pgp-keys application/pgp-signature application/vnd.android.package-archive
    application/vnd.debian.binary-package application/vnd.google-earth.kml+xml application/vnd.google-earth.kmz
    application/vnd.microsoft.portable-executable application/vnd.ms-cab-compressed
    application/vnd.ms-excel.addin.macroenabled.12 application/vnd.ms-htmlhelp application/vnd.ms-officetheme
    application/vnd.ms-outlook application/vnd.ms-powerpoint.addin.macroenabled.12 application/vnd.ms-project
    application/vnd.ms-publisher application/vnd.ms-tnef application/vnd.ms-visio.drawing
    application/vnd.ms-visio.drawing.macroenabled.12 application/vnd.ms-visio.stencil application/vnd.ms-visio.template
    application/vnd.ms-xpsdocument
    application/vnd.oasis.opendocument.graphics application/vnd.oasis.opendocument.presentation
    application/vnd.oasis.opendocument.spreadsheet application/vnd.oasis.opendocument.text application/vnd.rar
    application/vnd.sqlite3 application/vnd.tcpdump.pcap application/vnd.visio application/vnd.wordperfect
    application/x-7z-compressed application/x-ace-compressed application/x-apple-diskimage application/x-arj
    application/x-bittorrent application/x-blender application/x-bplist application/x-bytecode.python
    application/x-bzip2 application/x-cdf application/x-chrome-extension application/x-compress application/x-coredump
    application/x-dbf application/x-dosexec application/x-elc application/x-executable application/x-gnumeric
    application/x-gzip application/x-hwp application/x-ios-app application/x-iso9660-image application/x-java-applet
    application/x-java-keystore application/x-lha application/x-lz4 application/x-lzip application/x-lzma
    application/x-mach-binary application/x-matlab-data application/x-mobipocket-ebook application/x-ms-shortcut
    application/x-msaccess application/x-msi application/x-mswinurl application/x-object application/x-ole-storage
    application/x-pem-file application/x-pie-executable application/x-qemu-disk application/x-rar application/x-riff
    application/x-rpm application/x-setupscript application/x-stuffit application/x-subrip
    application/xhtml+xml application/x-xpinstall
    application/x-xar application/x-xz application/x-zip application/x-zoo application/zlib application/zstd
    audio/mid audio/x-ape audio/x-hx-aac-adif audio/x-mod audio/x-mp4a-latm audio/x-s3m audio/x-sfbk audio/x-unknown
    font/otf font/sfnt font/ttf font/woff font/woff2 image/bpg image/jls image/jp2 image/jpm image/jpx image/jxl
    image/jxr image/heif-sequence image/vnd.adobe.photoshop image/vnd.djvu image/vnd.dwg image/vnd.radiance
    image/x-canon-cr2 image/x-eps image/x-exr image/x-icns image/x-ms-bmp image/x-quicktime image/x-tga image/x-xcf
    message/news model/3mf model/gltf-binary text/calendar text/pgp text/troff text/vcard text/x-asm text/x-c text/x-c++
    text/x-diff text/x-java text/x-lisp text/x-lua text/x-makefile text/x-msdos-batch text/x-objective-c text/x-pascal
    text/x-perl text/x-php text/x-ruby text/x-script.python text/x-shellscript text/x-ssh-private-key text/x-tex
    text/x-vcalendar video/3gpp2 video/mj2 video/mp2t video/mpeg4-generic video/ogg video/x-dv video/x-flc video/x-fli
    video/x-flv video/x-ivf video/x-ms-asf application/csv application/octet-stream application/x-empty inode/x-empty
"""
KNOWN_MIMES = frozenset(
    {
        *_OTHER_MIMES.split(),
        *mimetypes.MimeTypes().types_map[True].values(),
        *(mime for row in MEDIA_TYPES.values() for mime in row.mimes),
    }
)
NAMES = frozenset({*MEDIA_TYPES, ENCRYPTED_OOXML})


class CheckAnswer(NamedTuple):
    """What a check said that ran together with the identification: its facts, not validated yet, or its refusal."""

    name: str
    kind: str
    facts: dict[str, Any] | None
    fault: PermanentError | None


class Identified(NamedTuple):
    """What `sniff.identified` and `examine` found: see there. `mime` is one of KNOWN_MIMES."""

    name: str | None
    mime: str
    sound_only: bool
    fault: PermanentError | None
    checked: CheckAnswer | None


def parse_identified(answer: object) -> Identified:
    """The answer of `sniff.identify` or `examine`.

    Raises:
        InvalidAnswerError: it is none.
    """
    match answer:
        case {"name": str() | None as name, "mime": str(mime), "sound_only": bool(sound_only), "fault": fault, **rest}:
            if name is None or name in NAMES:
                mime = mime if mime in KNOWN_MIMES else UNKNOWN_MIME
                return Identified(name, mime, sound_only, _fault(fault), _checked(rest.get("checked")))
    raise InvalidAnswerError


def _checked(answer: object) -> CheckAnswer | None:
    match answer:
        case None:
            return None
        case {"name": str(name), "kind": str(kind), "facts": dict(facts)}:
            return CheckAnswer(name, kind, facts, None)
        case {"name": str(name), "kind": str(kind), "fault": list(fault)}:
            return CheckAnswer(name, kind, None, _fault(fault))
    raise InvalidAnswerError


def _fault(answer: object) -> PermanentError | None:
    if answer is None:
        return None
    error = parse_refusal(answer)
    if not isinstance(error, PermanentError):
        raise InvalidAnswerError
    return error
