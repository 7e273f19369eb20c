"""Pictures and films that viewers show whole although a strict decoder refuses them, by kind."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import av
from PIL import ImageCms

from tests.support.matroska import subtitle_track, with_tracks
from tests.support.samples import animation, picture, pillow, png_by_hand, png_chunk, sample, tone, video

END = b"\xff\xd9"
# Bits of a VP8L picture of one pixel: no transform, no cache, five codes of one symbol each.
SMALLEST_WEBP = b"RIFF\x14\0\0\0WEBPVP8L\x08\0\0\0\x2f\0\0\0\0\x88\x88\x08"


def without_end(**options: object) -> bytes:
    """A JPEG that lacks its end mark alone."""
    content = pillow("JPEG", **{"size": (83, 61), **options})  # type: ignore[arg-type]
    assert content.endswith(END)
    return content.removesuffix(END)


def without_end_by_ffmpeg() -> bytes:
    return sample("jpeg/ffmpeg").rstrip(b"\0").removesuffix(END)


def lossless_jpeg() -> bytes:
    context = av.CodecContext.create("ljpeg", "w")
    context.width, context.height, context.pix_fmt, context.time_base = 160, 120, "bgr24", 1  # type: ignore[attr-defined]
    frame = av.VideoFrame.from_image(picture()).reformat(format="bgr24")
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])  # type: ignore[attr-defined]


def bad_crc(name: bytes, body: bytes) -> bytes:
    """A chunk with a wrong checksum."""
    return png_chunk(name, body)[:-4] + b"\xde\xad\xbe\xef"


def profile(size: int = 0) -> bytes:
    """Body of an iCCP chunk: the profile of sRGB, with this many bytes behind it."""
    content = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return b"sRGB\0\0" + zlib.compress(content + bytes(size), 9)


def text(name: bytes, size: int = 10) -> bytes:
    """Body of a text chunk of this kind with a text of this size."""
    content = b"a" * size
    return {
        b"tEXt": b"Comment\0" + content,
        b"zTXt": b"Comment\0\0" + zlib.compress(content, 9),
        b"iTXt": b"Comment\0\1\0en\0\0" + zlib.compress(content, 9),
    }[name]


ANCILLARY = {
    b"pHYs": struct.pack(">IIB", 3000, 3000, 1),
    b"iCCP": profile(),
    b"tEXt": text(b"tEXt"),
    b"zTXt": text(b"zTXt"),
    b"iTXt": text(b"iTXt"),
    b"gAMA": struct.pack(">I", 45455),
    b"cHRM": bytes(32),
    b"sRGB": b"\0",
    b"tIME": bytes(7),
    b"bKGD": bytes(6),
    b"tRNS": bytes(6),
    b"eXIf": b"MM\0*\0\0\0\x08\0\0",
    b"acTL": struct.pack(">II", 2, 0),
    b"prVt": b"private",
}


def cut_gif(frames: int = 4, share: float = 0.5) -> bytes:
    """An animation that ends within its last frame, of which this share is left."""
    content, shorter = (animation("GIF", frames=count) for count in (frames, frames - 1))
    return content[: len(shorter) + int((len(content) - len(shorter)) * share)]


def heic_sequence(frames: int = 4) -> bytes:
    """An image sequence without a still picture, as some phones write bursts."""
    content = video("mp4", "libx265", frames=frames)
    brands = content[: int.from_bytes(content[:4], "big")]
    sequence = struct.pack(">I4s4sI", len(brands), b"ftyp", b"msf1", 0) + b"msf1hevciso8".ljust(len(brands) - 16, b"\0")
    return sequence + content[len(brands) :].replace(b"vide", b"pict", 1)


def movie_behind(*boxes: bytes) -> bytes:
    """A QuickTime movie with these boxes of 8 bytes in place of its brands."""
    content = sample("mov/mpeg4")
    size = int.from_bytes(content[:4], "big")
    heads = b"".join(struct.pack(">I4s", 8, box) for box in boxes[:-1])
    return heads + struct.pack(">I4s", size - len(heads), boxes[-1]) + content[8 + len(heads) :]


def rifx() -> bytes:
    """A WAV with the most significant byte first."""
    samples = tone(8000, offset=0, rate=8000).astype(">i2").tobytes()
    form = b"WAVEfmt " + struct.pack(">IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16) + b"data"
    return b"RIFX" + struct.pack(">I", len(form) + 4 + len(samples)) + form + struct.pack(">I", len(samples)) + samples


SHOWN_WHOLE: dict[str, Callable[[], bytes]] = {
    "jpeg/no-end": without_end,
    "jpeg/no-end-progressive": lambda: without_end(progressive=True),
    "jpeg/no-end-grey": lambda: without_end(mode="L"),
    "jpeg/no-end-cmyk": lambda: without_end(mode="CMYK"),
    "jpeg/no-end-restarts": lambda: without_end(restart_marker_rows=1),
    "jpeg/no-end-ffmpeg": without_end_by_ffmpeg,
    "jpeg/half-an-end": lambda: without_end() + b"\xff",
    "jpeg/zeros-for-end": lambda: without_end(quality=90) + bytes(500),
    "jpeg/zeros-for-end-progressive": lambda: without_end(progressive=True) + bytes(500),
    "jpeg/lossless": lossless_jpeg,
    "png/large-profile": lambda: png_by_hand(chunks=png_chunk(b"iCCP", profile(3 << 20))),
    "png/large-text": lambda: png_by_hand(chunks=png_chunk(b"zTXt", text(b"zTXt", 3 << 20))),
    "png/large-international-text": lambda: png_by_hand(chunks=png_chunk(b"iTXt", text(b"iTXt", 3 << 20))),
    "webp/smallest": lambda: SMALLEST_WEBP,
    "gif/cut-in-last-frame": cut_gif,
    "gif/cut-in-second-frame": lambda: cut_gif(2),
    "heic/sequence": heic_sequence,
    "mov/skip-first": lambda: movie_behind(b"skip"),
    "mov/free-first": lambda: movie_behind(b"free"),
    "mov/pnot-first": lambda: movie_behind(b"pnot"),
    "mov/wide-first": lambda: movie_behind(b"wide"),
    "mov/two-boxes-first": lambda: movie_behind(b"wide", b"skip"),
    "mkv/subtitles": lambda: with_tracks(video("matroska", "libx264", frames=3, live="1"), behind=subtitle_track()),
    "wav/big-endian": rifx,
    "text/dos-end": lambda: "Olá, ação\r\n".encode("cp1252") * 20 + b"\x1a",
    "text/cp-m-end": lambda: b"Ola\r\n" + b"\x1a" * 123,
}
