"""The standard load: decodable files, no two alike, mixed as in a chat. They are made once and kept in var/bench.

Of 50 files, 22 are photos, 15 voice notes, 8 stickers, 4 PDFs and one is a video. A number always gives the same file.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import struct
import wave
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from scripts.benchmarks.environment import ROOT

LOAD_FOLDER = ROOT / "var" / "bench" / "media"
CLIPS = 3  # different videos; `video` appends bytes that make each file unique
Row = dict[str, Any]
"""One attachment as JSON: session, message_id, url, kind, mimetype, size."""


def picture(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """A smooth picture with some grain, as a camera produces it."""
    coarse = rng.integers(0, 255, (height // 24 + 1, width // 24 + 1, 3), dtype=np.uint8)
    smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    grain = rng.integers(-10, 10, (height, width, 1), dtype=np.int16)
    return Image.fromarray((np.asarray(smooth, dtype=np.int16) + grain).clip(0, 255).astype(np.uint8))


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def photo(rng: np.random.Generator) -> bytes:
    return saved(picture(rng, 1080, 810), "JPEG", quality=65)


def sticker(rng: np.random.Generator) -> bytes:
    return saved(picture(rng, 512, 512), "WEBP", quality=30, method=0)


def scanned_page(rng: np.random.Generator) -> bytes:
    """A scanned page."""
    return saved(picture(rng, 1240, 1754), "PDF", quality=55, creationDate=None, modDate=None)


def voice_note(rng: np.random.Generator) -> bytes:
    """Five seconds of Opus at 16 kbit/s."""
    out = io.BytesIO()
    with av.open(
        out, "w", format="ogg", options={"fflags": "+bitexact"}
    ) as box:  # otherwise the stream gets a random serial number
        stream = box.add_stream("libopus", rate=48000, layout="mono")
        stream.bit_rate = 16000
        for _ in range(250):
            noise = rng.integers(-8000, 8000, (1, 960), dtype=np.int16)
            frame = av.AudioFrame.from_ndarray(noise, format="s16", layout="mono")
            frame.sample_rate = 48000
            box.mux(stream.encode(frame))
        box.mux(stream.encode(None))
    return out.getvalue()


@lru_cache(maxsize=CLIPS)
def clip(number: int) -> bytes:
    """Two seconds of H.264, 640 x 360."""
    out, rng = io.BytesIO(), np.random.default_rng((2, number))
    with av.open(out, "w", format="mp4") as box:
        stream = box.add_stream("libx264", rate=24, options={"preset": "ultrafast", "crf": "30"})
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for _ in range(48):
            box.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(picture(rng, 640, 360)), format="rgb24")))
        box.mux(stream.encode(None))
    return out.getvalue()


def video(rng: np.random.Generator) -> bytes:
    """A clip with a `free` box of random bytes at the end, which players skip."""
    marker = rng.bytes(24)
    return clip(int(rng.integers(CLIPS))) + struct.pack(">I", 8 + len(marker)) + b"free" + marker


KINDS = {  # function, how many of 50, extension, declared kind and MIME type
    "photo": (photo, 22, "jpg", "image", "image/jpeg"),
    "voice note": (voice_note, 15, "ogg", "ptt", "audio/ogg; codecs=opus"),
    "sticker": (sticker, 8, "webp", "sticker", "image/webp"),
    "PDF": (scanned_page, 4, "pdf", "document", "application/pdf"),
    "video": (video, 1, "mp4", "video", "video/mp4"),
}
BY_EXT = {ext: (name, kind, mimetype) for name, (_, _, ext, kind, mimetype) in KINDS.items()}
ORDER = random.Random(1).sample(list(KINDS), k=50, counts=[row[1] for row in KINDS.values()])  # noqa: S311


def file_name(number: int) -> str:
    return f"{number:06d}.{KINDS[ORDER[number % len(ORDER)]][2]}"


def standard_load(count: int, folder: Path = LOAD_FOLDER) -> list[Path]:
    """The first `count` files of the load. Missing files are made, on all cores."""
    return _ensure_files(range(count), folder)


def load_of_kind(name: str, count: int) -> list[Path]:
    """The first `count` files of one kind."""
    per_cycle = ORDER.count(name)
    numbers = range((count + per_cycle - 1) // per_cycle * len(ORDER))
    return _ensure_files([number for number in numbers if ORDER[number % len(ORDER)] == name][:count], LOAD_FOLDER)


def _ensure_files(numbers: Sequence[int], folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / file_name(number) for number in numbers]
    missing = [(number, path) for number, path in zip(numbers, paths, strict=True) if not path.exists()]
    if missing:
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(make, missing, chunksize=8))
    return paths


def make(numbered_path: tuple[int, Path]) -> None:
    """Writes the file with this number to this path."""
    number, path = numbered_path
    maker = KINDS[ORDER[number % len(ORDER)]][0]
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_bytes(maker(np.random.default_rng((1, number))))
    part.rename(path)


def rows(paths: Sequence[Path], url: str, *, sessions: int = 20, prefix: str = "m") -> list[Row]:
    """One attachment for each file."""
    return [row(path, url, f"{prefix}{n:06d}", f"s{n % sessions:02d}") for n, path in enumerate(paths)]


def row(path: Path, url: str, message_id: str, session: str = "s00") -> Row:
    """An attachment with this file, as a gateway would hand it over."""
    _, kind, mimetype = BY_EXT.get(path.suffix[1:], ("", "audio", "audio/wav"))
    fields = {"session": session, "message_id": message_id, "url": f"{url}/{path.name}"}
    return fields | {"kind": kind, "mimetype": mimetype, "size": path.stat().st_size}


def tiny_wav_files(folder: Path, count: int) -> list[Path]:
    """WAV files of 0.1 s of noise, for which the pipeline itself is nearly the whole cost."""
    rng = random.Random(1)  # noqa: S311
    paths = [folder / f"{number:06d}.wav" for number in range(count)]
    for path in paths:
        with contextlib.closing(wave.open(str(path), "wb")) as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(8000)
            sound.writeframes(rng.randbytes(1600))
    return paths


def large_pdf(path: Path, size: int) -> Path:
    """A PDF of one blank page and a large stream of private data, which viewers do not open."""
    private = b"/PieceInfo << /Bench << /LastModified (D:20260101000000Z) /Private 4 0 R >> >>"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] " + private + b" >>",
    ]
    with path.open("wb") as out:
        out.write(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
        offsets = []
        for number, body in enumerate(objects, 1):
            offsets.append(out.tell())
            out.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
        offsets.append(out.tell())
        out.write(b"4 0 obj\n<< /Length %d >>\nstream\n" % size)
        out.writelines(_noise(size))
        out.write(b"\nendstream\nendobj\n")
        index = out.tell()
        out.write(b"xref\n0 5\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % at for at in offsets))
        out.write(b"trailer\n<< /Size 5 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % index)
    return path


def _noise(size: int) -> Iterator[bytes]:
    block = random.Random(size).randbytes(1 << 20)  # noqa: S311
    for at in range(0, size, len(block)):
        yield block[: size - at]
