"""JPEG without its end mark: separates a picture that has all its pixels from a truncated one. Runs in the sandbox.

Pillow refuses both alike. libjpeg hides the difference if an end mark is added: it decodes missing data as grey.
Layout: ITU-T T.81, annex B.
"""

from __future__ import annotations

import io
import os
import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import av
import av.error
from av import VideoFrame
from PIL import Image, JpegImagePlugin

from pipeline.media_types.pictures.spliced import Span, spliced

BASELINE, EXTENDED, PROGRESSIVE, LOSSLESS = 0xC0, 0xC1, 0xC2, 0xC3  # frames (SOF) of the Huffman processes
SCAN, RESTART_INTERVAL, END = 0xDA, 0xDD, 0xD9
END_MARK = b"\xff\xd9"
MAX_BYTES = 200_000_000  # of a file that is examined; a picture of the largest sizes that libjpeg takes is smaller
FILL_BYTES = 16  # zeros at the end of a file that make it suspicious
MAX_EDGE = 65_500  # pixels, the limit of libjpeg
COEFFICIENTS = 64
# A marker behind entropy-coded data: not a stuffed byte, a fill byte or a restart.
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])", re.DOTALL)
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")


@dataclass
class _Scan:
    start: int  # of the entropy-coded data
    components: bytes
    spectrum: range  # of coefficients; begins with the predictor in a lossless picture
    low_bit: int  # the lowest bit of each coefficient that has been sent with this scan


@dataclass
class _Layout:
    frames: int = 0
    precision: int = 0
    process: int = 0
    size_at: int = 0  # of the height in the frame header
    width: int = 0
    height: int = 0
    samplings: dict[int, tuple[int, int]] = field(default_factory=dict)
    interval: int = 0
    interval_at: int = 0
    scans: list[_Scan] = field(default_factory=list)
    ended: bool = False

    @property
    def unit(self) -> tuple[int, int]:
        """Width and height of a minimum coded unit (MCU) of a scan with all components."""
        if len(self.samplings) == 1:
            return 8, 8
        return 8 * max(across for across, _ in self.samplings.values()), 8 * max(
            down for _, down in self.samplings.values()
        )


def is_lossless(file: int) -> bool:
    """Whether the file is a lossless JPEG. libjpeg decodes only some of them, and none at a reduced size."""
    return _layout(os.pread(file, MAX_BYTES, 0)).process == LOSSLESS


def size(file: int) -> tuple[int, int]:
    """Width and height that the frame header states; 0 × 0 without one header."""
    layout = _layout(os.pread(file, MAX_BYTES, 0))
    return (layout.width, layout.height) if layout.frames == 1 else (0, 0)


def decoded(file: int) -> VideoFrame | None:
    """The lossless picture as FFmpeg decodes it; None if it is damaged, truncated or against the standard.

    It needs its end mark, because FFmpeg does not notice that bits of the last pixel are missing.
    """
    content = os.pread(file, MAX_BYTES, 0)
    layout = _layout(content)
    lawful = all(1 <= scan.spectrum.start <= 7 and scan.low_bit < layout.precision for scan in layout.scans)
    return _decoded(content) if lawful and layout.ended else None


def lacks_end_alone(file: int) -> bool:
    """Whether the file has the data of all its pixels, and only the end mark is missing.

    Zeros in its place, as cameras write them, are accepted; but not zeros that stand for pixels: without its last byte
    the data must be incomplete. Data that is coded arithmetically, losslessly, or sequentially in several scans is not
    examined: False.
    """
    content = os.pread(file, MAX_BYTES, 0).rstrip(b"\xff")
    ends = [content]
    if content.endswith(b"\0"):
        stripped = content.rstrip(b"\0")
        ends.append(stripped + b"\0" if stripped.endswith(b"\xff") else stripped)  # a zero belongs to each 0xFF
    return any(_is_whole(end) and not _is_whole(_without_last_byte(end)) for end in ends)


def ends_in_zeros(file: int) -> bool:
    """Whether the file ends with zeros instead of pixels, as a download that broke off in a file of full size.

    libjpeg decodes zeros like pixels, and Pillow then asks for no end mark.
    """
    size = os.fstat(file).st_size
    if os.pread(file, FILL_BYTES, max(0, size - FILL_BYTES)) != bytes(FILL_BYTES):
        return False
    return not _layout(os.pread(file, MAX_BYTES, 0)).ended and not lacks_end_alone(file)


def with_end(file: int) -> io.BufferedReader:
    """The file with an end mark behind it."""
    return spliced(file, [Span(0, os.fstat(file).st_size), END_MARK])


def _without_last_byte(content: bytes) -> bytes:
    return content[:-2] if content.endswith(b"\xff\0") else content[:-1]


def _is_whole(content: bytes) -> bool:
    layout = _layout(content)
    if layout.ended or layout.frames != 1 or not layout.scans:
        return False
    if layout.process == PROGRESSIVE:
        return _has_all_bits(layout) and _decoded(content + END_MARK) is not None
    if layout.process in {BASELINE, EXTENDED} and len(layout.scans) == 1:
        return len(layout.scans[0].components) == len(layout.samplings) and _has_last_unit(content, layout)
    return False


def _segments(content: bytes) -> Iterator[tuple[int, int, bytes]]:
    """The marker, position and body of each segment, up to the end mark or the end of the data."""
    at = 2
    while found := _MARKER.search(content, at):
        marker, start = found[1][0], found.end()
        length = int.from_bytes(content[start : start + 2], "big")
        yield marker, start + 2, content[start + 2 : start + length]
        if marker == END or length < 2:
            return
        at = start + length


def _layout(content: bytes) -> _Layout:
    layout = _Layout()
    for marker, start, body in _segments(content):
        if BASELINE <= marker <= LOSSLESS and len(body) >= 6:
            layout.frames += 1
            layout.process, layout.size_at = marker, start + 1
            layout.precision, layout.height, layout.width, count = struct.unpack_from(">BHHB", body)
            parts = (body[at : at + 3] for at in range(6, 6 + 3 * count, 3))
            layout.samplings = {part[0]: (part[1] >> 4, part[1] & 15) for part in parts if len(part) == 3}
        elif marker == RESTART_INTERVAL and len(body) == 2:
            layout.interval, layout.interval_at = int.from_bytes(body, "big"), start
        elif marker == SCAN and len(body) >= 4:
            first, last, bits = body[-3:]
            components = body[1 : 1 + 2 * body[0] : 2]
            layout.scans.append(_Scan(start + len(body), components, range(first, max(first, last) + 1), bits & 15))
        layout.ended = marker == END
    return layout


def _has_all_bits(layout: _Layout) -> bool:
    """Whether the scans of a progressive picture send every coefficient of every component down to its lowest bit."""
    sent = {
        (component, coefficient)
        for scan in layout.scans
        if scan.low_bit == 0
        for component in scan.components
        for coefficient in scan.spectrum
    }
    return len(sent) == COEFFICIENTS * len(layout.samplings)


def _decoded(content: bytes) -> VideoFrame | None:
    """The picture by FFmpeg, which counts the bits of each progressive scan and refuses one that is cut."""
    decoder = av.CodecContext.create("mjpeg", "r")
    decoder.thread_count = 1
    decoder.options = {"err_detect": "explode"}
    try:
        frames = [*decoder.decode(av.Packet(content)), *decoder.decode(None)]
    except (av.error.FFmpegError, ValueError):
        return None
    return frames[0] if frames and isinstance(frames[0], VideoFrame) else None


def _has_last_unit(content: bytes, layout: _Layout) -> bool:
    """Whether the last MCU of a sequential scan has all its bits.

    The picture is decoded with two rows of MCUs more than it has. If libjpeg runs out of bits within an MCU, it makes
    all further ones grey. If it runs out between two, it decodes the next one from invented bits. So the data is
    complete if the first additional MCU differs from the grey one below it. That one is not grey if there is more data
    than the picture needs, such as zeros in place of pixels. A picture whose invented MCU is exactly grey
    counts as truncated. With restart markers, only the last interval is decoded, as a picture of its own.
    """
    width, height = layout.unit
    if not (layout.width and layout.height and width and height):
        return False
    columns, rows = -(-layout.width // width), -(-layout.height // height)
    scan = layout.scans[0]
    data: bytes = content[scan.start :]
    if layout.interval:
        intervals = _RESTART.split(data)
        units = columns * rows - (len(intervals) - 1) * layout.interval
        if not 0 < units <= layout.interval:
            return False
        data = intervals[-1]
        columns, rows = (columns, units // columns) if units % columns == 0 else (units, 1)
    if columns * width > MAX_EDGE or (rows + 2) * height > MAX_EDGE:
        return False
    head = bytearray(content[: scan.start])
    struct.pack_into(">HH", head, layout.size_at, (rows + 2) * height, columns * width)
    if layout.interval:
        head[layout.interval_at : layout.interval_at + 2] = bytes(2)
    with (
        suppress(OSError, SyntaxError),
        JpegImagePlugin.JpegImageFile(io.BytesIO(bytes(head) + data + END_MARK)) as image,
    ):
        image.load()
        extra, below = (image.crop(_inner(at * height, width, height)) for at in (rows, rows + 1))
        return _is_uniform(below) and extra.tobytes() != below.tobytes()
    return False  # it does not decode at all


def _is_uniform(image: Image.Image) -> bool:
    return all(lowest == highest for lowest, highest in (band.getextrema() for band in image.split()))


def _inner(top: int, width: int, height: int) -> tuple[int, int, int, int]:
    """The inside of the first MCU of a row: its margin is mixed with the MCUs around it."""
    return 2, top + 2, width - 2, top + height - 2
