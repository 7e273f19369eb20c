"""Why a decoder refuses a file: reasons from a fixed list, whose texts the parent process builds.

A child may run foreign code, so its words are never passed on. It sends the name of a Reason, numbers for the fields of
its text, and values from a fixed vocabulary. `parse_refusal` accepts nothing else.
"""

from __future__ import annotations

import builtins
import errno
import math
import os
import string
from collections.abc import Mapping
from enum import Enum
from itertools import combinations
from typing import Any

from pipeline.errors import Code, PermanentError, PipelineError, RetryableError

MAX_NUMBER = 10**15  # of a field, positive or negative; a larger one is not believed

ACTIVE_FLAGS = ("encrypted", "javascript", "macros", "objects")
FORMS = (
    *(f"a {name} image" for name in ("JPEG", "PNG", "WEBP", "GIF", "HEIF", "AVIF")),
    *("a PDF document", "an OLE document", "a zip archive"),
    *("mp4", "mov", "3gp", "3ga", "m4a", "avi", "mkv", "webm", "ogg", "mp3", "wav", "aac", "amr", "flac"),
)
# The texts that a field of this name may have. Fields with other names are numbers.
VOCABULARIES: dict[str, frozenset[str]] = {
    "form": frozenset(FORMS),
    "flags": frozenset(", ".join(chosen) for count in range(1, 5) for chosen in combinations(ACTIVE_FLAGS, count)),
    "missing": frozenset({"no audio stream", "no video stream", "no video stream and no audio stream"}),
    "exception": frozenset(
        name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, Exception)
    )
    | {"an exception of its own"},
    "error": frozenset(map(os.strerror, errno.errorcode)),
}


class Reason(Enum):
    """A reason with its code and its text, whose fields in braces are filled in by the values of a Refusal."""

    # the child itself
    MEMORY = (Code.TOO_COSTLY, "takes more memory than is allowed (SANDBOX_MEMORY_MB)")
    CRASHED = (Code.DECODER_CRASH, "the decoder failed with {exception}")
    UNREADABLE = (Code.STAGING, "cannot read the staged file: {error}")
    UNLOADABLE = (Code.INTERNAL, "a decoder cannot be loaded: install Esteira's dependencies again")
    NO_THREAD = (
        Code.INTERNAL,
        "no thread can be started in a decoder process: raise the limit of processes (ulimit -u)",
    )
    # any type
    NOT_DECODABLE = (Code.BROKEN, "cannot be read as {form}")
    ACTIVE_CONTENT = (Code.ACTIVE_CONTENT, "holds active content: {flags}; ACTIVE_DOCUMENTS=accept accepts it")
    # images
    NO_PIXELS = (Code.BROKEN, "has no pixels")
    TOO_MANY_PIXELS = (
        Code.TOO_MANY_PIXELS,
        "has {width} × {height} pixels; at most {allowed_mpx:g} Mpx are allowed (MAX_IMAGE_MPX)",
    )
    MORE_PIXELS = (Code.TOO_MANY_PIXELS, "has too many pixels; at most {allowed_mpx:g} Mpx are allowed (MAX_IMAGE_MPX)")
    TOO_MANY_FRAMES = (Code.TOO_MANY_FRAMES, "has {frames} frames or more; at most {allowed} are allowed (MAX_FRAMES)")
    FRAMES_TOO_LARGE = (
        Code.TOO_MANY_FRAMES,
        "has {frames} frames or more of {width} × {height} pixels; at most {allowed_mpx:g} Mpx in all are allowed "
        "(ten times MAX_IMAGE_MPX)",
    )
    WEBP_CUT = (Code.BROKEN, "ends within its first chunk")
    WEBP_WITHOUT_IMAGE = (Code.BROKEN, "has no WebP image in its first chunk")
    # audio and video
    NO_STREAM = (Code.BROKEN, "has {missing}")
    UNKNOWN_CODEC = (Code.BROKEN, "uses a codec that FFmpeg does not support")
    NO_FRAME = (Code.BROKEN, "no frame can be decoded")
    NO_SAMPLES = (Code.EMPTY, "has no samples")
    TOO_LONG = (Code.TOO_LONG, "lasts {seconds} s; at most {allowed} s are allowed (MAX_DURATION_S)")
    # PDF
    NO_PAGES = (Code.BROKEN, "has no pages")
    TOO_MANY_PAGES = (Code.TOO_MANY_PAGES, "has {pages} pages; at most {allowed} are allowed (MAX_PAGES)")
    PAGE_WITHOUT_SIZE = (Code.BROKEN, "has a first page without any size")
    # OLE
    OLE_WITHOUT_STREAM = (Code.BROKEN, "has no main stream")
    OLE_TOO_SHORT = (Code.BROKEN, "is shorter than its directory says")
    OLE_BAD_CHAIN = (Code.BROKEN, "has a chain of sectors that ends early or never")
    OLE_NO_WORD = (Code.BROKEN, "has no Word document in its main stream")
    OLE_NO_EXCEL = (Code.BROKEN, "has no Excel workbook in its main stream")
    OLE_NO_POWERPOINT = (Code.BROKEN, "has no PowerPoint presentation in its main stream")
    OLE_NO_PACKAGE = (Code.BROKEN, "has no encrypted package in its main stream")
    OLE_BAD_DIRECTORY = (Code.BROKEN, "has a damaged directory of streams")
    OLD_POWERPOINT = (Code.TYPE_NOT_ALLOWED, "is a presentation of PowerPoint 95 or before, which is not accepted")
    OLD_WORD = (Code.TYPE_NOT_ALLOWED, "is a document of Word 2 or before, which is not accepted")
    # XLS without OLE
    XLS_CUT = (Code.BROKEN, "ends before the last sheet of its workbook ends")
    XLS_FOREIGN_BYTES = (Code.BROKEN, "holds other bytes behind the last sheet of its workbook")
    XLS_TOO_LONG = (Code.BROKEN, "is larger than a workbook without an OLE container can be")
    # text
    NOT_TEXT = (Code.BROKEN, "holds bytes that are not text")
    RTF_CUT = (Code.BROKEN, "ends before its last group is closed")
    # zip archives
    EXPANDS_TOO_FAR = (Code.EXPANDS_TOO_FAR, "expands to more than {allowed} times its size (MAX_EXPANSION_RATIO)")
    TOO_MANY_ENTRIES = (Code.EXPANDS_TOO_FAR, "holds more than {allowed} entries (MAX_ENTRIES)")
    NESTED_TOO_DEEP = (Code.EXPANDS_TOO_FAR, "holds archives within archives, {depth} deep")
    ZIP_NO_END = (Code.BROKEN, "has no end record")
    ZIP_TWO_ENDS = (Code.BROKEN, "has more than one end record")
    ZIP_FOREIGN_BYTES = (Code.BROKEN, "has bytes before or after its directory that do not belong to it")
    ZIP_LARGE_PART = (Code.BROKEN, "holds a part of more than {allowed} bytes where a small one belongs")
    ZIP_OVERLAP = (Code.BROKEN, "has entries that overlap")
    ZIP_LEAVES_FILE = (Code.BROKEN, "has an entry that leaves the file")
    ZIP_MORE_BYTES = (Code.BROKEN, "holds more bytes than its directory says")
    ZIP_OTHER_BYTES = (Code.BROKEN, "holds other bytes than its directory says")
    ZIP_CUT = (Code.BROKEN, "holds an entry that is cut short")
    ZIP_NO_HEADER = (Code.BROKEN, "has an entry without a header")
    ZIP_ENCRYPTED = (Code.BROKEN, "is an encrypted archive")
    ZIP_METHOD = (Code.BROKEN, "is compressed with a method that neither Office documents nor stickers use")
    ZIP_SIZES_DIFFER = (Code.BROKEN, "has sizes in its directory and in an entry's header that differ")
    ZIP_ENTRIES_DIFFER = (Code.BROKEN, "has entries that differ from its directory")
    ZIP_EQUAL_NAMES = (Code.BROKEN, "has two entries of the same name, case and slashes aside")
    ZIP_EMPTY = (Code.EMPTY, "is an archive without entries")
    ZIP_NAMES = (Code.TYPE_NOT_ALLOWED, "is an archive with names that lead out of it")
    # OPC packages
    OPC_NO_TYPES = (Code.BROKEN, "has no list of content types")
    OPC_NO_MAIN = (Code.BROKEN, "has no main part")
    OPC_NO_EXCEL = (Code.BROKEN, "has no Excel workbook in its main part")
    OPC_LACKS_MAIN = (Code.BROKEN, "lacks the main part that it names")
    XML_BROKEN = (Code.BROKEN, "holds XML that is not well formed")
    XML_DOCTYPE = (Code.BROKEN, "holds XML that declares a document type")
    # XML, OFX and vCard
    XML_RUN = (
        Code.TYPE_NOT_ALLOWED,
        "holds XHTML, SVG, a script, a stylesheet or an inclusion, which programs may run",
    )
    TOO_DEEP = (Code.BROKEN, "is nested more than {allowed} levels deep")
    OFX_HEADER = (Code.BROKEN, "has no valid OFX header")
    OFX_ELEMENTS = (Code.BROKEN, "has elements that are not those of an OFX file")
    OFX_CUT = (Code.BROKEN, "ends before its OFX element is closed")
    LONG_LINE = (Code.BROKEN, "has a line of more than {allowed} bytes")
    VCARD_OUTSIDE = (Code.BROKEN, "has text outside of its cards")
    VCARD_LINE = (Code.BROKEN, "has a line that is no property of a card")
    VCARD_VERSION = (Code.BROKEN, "has a card that is not of version 2.1, 3.0 or 4.0")
    VCARD_CUT = (Code.BROKEN, "ends within a card")
    # Lottie
    NO_LOTTIE = (Code.BROKEN, "has no Lottie animation")
    JSON_BROKEN = (Code.BROKEN, "holds JSON that is not valid, or has a name twice or a number without bounds")
    LOTTIE_PARTS = (Code.BROKEN, "holds more than the {allowed} files that a sticker may have")
    LOTTIE_BYTES = (Code.BROKEN, "unpacks to more than the {allowed} bytes that a sticker may have")
    LOTTIE_LAYERS = (Code.BROKEN, "draws more than {allowed} layers or copies")
    LOTTIE_SCRIPT = (Code.BROKEN, "holds a script")
    LOTTIE_REFERENCE = (Code.BROKEN, "refers to files outside of it")

    def __init__(self, code: Code, text: str) -> None:
        self.code = code
        self.text = text
        self.fields = frozenset(field for _, field, _, _ in string.Formatter().parse(text) if field)


RETRYABLE = frozenset({Code.STAGING, Code.INTERNAL})  # codes of reasons that say nothing about the file


class Refusal(PermanentError):  # noqa: N818 -- the word of the field: a check refuses a file
    """Raised by a decoder that refuses a file. `values` are the fields of the reason's text."""

    def __init__(self, reason: Reason, **values: float | str) -> None:
        super().__init__(reason.code, reason.text.format(**values))
        self.reason = reason
        self.values = values

    @property
    def answer(self) -> list[Any]:
        """The JSON form, which `parse_refusal` reads."""
        return [self.reason.name, self.values]


def parse_refusal(answer: object) -> PipelineError | None:
    """The error for what a child says about a refusal; None if it is not made of a reason and values that fit it."""
    match answer:
        case [str(name), dict(values)] if name in Reason.__members__:
            reason = Reason[name]
        case _:
            return None
    if values.keys() != reason.fields or not all(_is_plausible(name, value) for name, value in values.items()):
        return None
    error = RetryableError if reason.code in RETRYABLE else PermanentError
    return error(reason.code, reason.text.format(**values))


def _is_plausible(field: str, value: object) -> bool:
    vocabulary: Mapping[str, frozenset[str]] = VOCABULARIES
    if field in vocabulary:
        return isinstance(value, str) and value in vocabulary[field]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and abs(value) <= MAX_NUMBER
