"""Unusual files that are valid, as common producers make them.

`ODD` and `SOUND_ONLY` map a label "type/feature" to the function that makes the file.
"""

from __future__ import annotations

import base64
import io
import struct
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import av
import docx
import numpy as np
import openpyxl
import pillow_heif
import pptx
from av.stream import Disposition
from openpyxl.chart import BarChart, Reference
from openpyxl.drawing.image import Image as SheetImage
from PIL import Image
from pptx.util import Inches

from tests.support import compound_files as office
from tests.support.samples import animation, pdf_by_hand, picture, pillow, sample, sound, speak, video, wav_by_wave


def remuxed(content: bytes, form: str, *, only: str) -> bytes:
    """The streams of one type ("audio" or "video"), copied into another container."""
    with tempfile.NamedTemporaryFile() as file:
        with av.open(io.BytesIO(content)) as source, av.open(file.name, "w", format=form) as box:
            streams = [stream for stream in source.streams if stream.type == only]
            copies = {stream.index: box.add_stream_from_template(stream) for stream in streams}
            for packet in source.demux(streams):
                if packet.dts is not None:
                    packet.stream = copies[packet.stream.index]
                    box.mux(packet)
        return Path(file.name).read_bytes()


def with_cover(form: str, codec: str) -> bytes:
    """A second of a tone with a cover, which FFmpeg stores as a video stream of one frame."""
    with tempfile.NamedTemporaryFile() as file:
        with av.open(file.name, "w", format=form) as box:
            stream = box.add_stream(codec, rate=44100, layout="mono")
            cover = box.add_stream("mjpeg", rate=1)
            cover.width, cover.height, cover.pix_fmt = 160, 120, "yuvj420p"
            cover.disposition = Disposition.attached_pic
            frame = av.VideoFrame.from_image(picture()).reformat(format="yuvj420p")
            box.mux([*cover.encode(frame), *cover.encode(None)])
            speak(box, stream, 44100, 1.0)
        return Path(file.name).read_bytes()


def with_chapter_pictures() -> bytes:
    """An M4A with chapter pictures: a video track that the audio track references as its chapters (`tref`, `chap`)."""
    content = bytearray(
        video("mp4", "mjpeg", frames=3, voice="aac", pixels="yuvj420p").replace(b"ftypisom", b"ftypM4A ")
    )
    movie = content.index(b"moov") - 4  # the last box, so no offset behind it changes
    tracks = {handler: content.rindex(b"trak", 0, content.index(handler, movie)) - 4 for handler in (b"vide", b"soun")}
    number = content[tracks[b"vide"] + 28 : tracks[b"vide"] + 32]
    chapters = struct.pack(">I4sI4s4s", 20, b"tref", 12, b"chap", bytes(number))
    content[tracks[b"soun"] + 8 : tracks[b"soun"] + 8] = chapters
    for box in (movie, tracks[b"soun"]):
        content[box : box + 4] = struct.pack(">I", int.from_bytes(content[box : box + 4], "big") + len(chapters))
    return bytes(content)


def mp3_with_art(size: int = 1_500_000) -> bytes:
    """MP3 behind an ID3 tag with a large picture (APIC)."""
    art = b"\0image/jpeg\0\3\0" + pillow("JPEG") + bytes(size)
    frame = b"APIC" + struct.pack(">I", len(art)) + b"\0\0" + art
    length = bytes(len(frame) >> shift & 127 for shift in (21, 14, 7, 0))
    return b"ID3\3\0\0" + length + frame + sample("mp3/no-tag")


def opus_with_art() -> bytes:
    """Opus with a cover, so that its comment header spans several pages."""
    art = pillow("JPEG", size=(600, 600), quality=95)
    block = struct.pack(">II10sI5I", 3, 10, b"image/jpeg", 0, 600, 600, 24, 0, len(art)) + art
    out = io.BytesIO()
    with av.open(out, "w", format="ogg") as box:
        box.metadata["METADATA_BLOCK_PICTURE"] = base64.b64encode(block).decode()
        speak(box, box.add_stream("libopus", rate=48000, layout="stereo"), 48000, 1.0)
    return out.getvalue()


def amr_wide(frames: int = 50) -> bytes:
    """Silence in AMR-WB, 20 ms a frame. By hand, because FFmpeg has no encoder for it. Layout: RFC 4867 5."""
    return b"#!AMR-WB\n" + (b"\x04" + bytes(17)) * frames


def timed(form: str, durations: Iterable[int], **options: object) -> bytes:
    """An animation with these frame durations in milliseconds."""
    times, out = list(durations), io.BytesIO()
    first, *rest = [picture((64, 48), seed=seed) for seed in range(len(times))]
    first.save(out, form, save_all=True, append_images=rest, duration=times, **options)
    return out.getvalue()


def large_exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 8, "x" * 60_000
    return pillow("JPEG", exif=exif)


def png_16_bit() -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.arange(160 * 120, dtype=np.uint16).reshape(120, 160)).save(out, "PNG")
    return out.getvalue()


def several_heic() -> bytes:
    heif, out = pillow_heif.from_pillow(picture()), io.BytesIO()
    heif.add_from_pillow(picture((90, 70), seed=2))
    heif.save(out)
    return out.getvalue()


def docx_with_picture() -> bytes:
    document, out = docx.Document(), io.BytesIO()
    document.add_picture(io.BytesIO(pillow("JPEG")))
    document.add_table(3, 3)
    document.save(out)
    return out.getvalue()


def xlsx_with_chart() -> bytes:
    book, out = openpyxl.Workbook(), io.BytesIO()
    for number in range(10):
        book.active.append([number, number**2])
    chart = BarChart()
    chart.add_data(Reference(book.active, min_col=1, max_col=2, min_row=1, max_row=10))
    book.active.add_chart(chart, "E2")
    book.active.add_image(SheetImage(io.BytesIO(pillow("PNG"))), "E20")
    book.save(out)
    return out.getvalue()


def pptx_with_movie() -> bytes:
    show, out = pptx.Presentation(), io.BytesIO()
    slide = show.slides.add_slide(show.slide_layouts[5])
    slide.shapes.add_movie(io.BytesIO(sample("mp4/h264")), 0, 0, Inches(2), Inches(2), mime_type="video/mp4")
    show.save(out)
    return out.getvalue()


class _Stream(io.RawIOBase):
    """An output that cannot seek, such as the response of a server."""

    def __init__(self) -> None:
        self.written = b""

    def writable(self) -> bool:
        return True

    def write(self, text: bytes) -> int:  # type: ignore[override]
        self.written += bytes(text)
        return len(text)


def streamed(package: bytes) -> bytes:
    """The same archive, with the sizes of each entry behind its bytes and in 64 bits."""
    out = _Stream()
    with zipfile.ZipFile(io.BytesIO(package)) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[arg-type]
        for name in source.namelist():
            with archive.open(name, "w", force_zip64=True) as entry:
                entry.write(source.read(name))
    return out.written


def without_first_box(content: bytes) -> bytes:
    """A QuickTime file without `ftyp`, as written before that box was introduced."""
    return content[int.from_bytes(content[:4], "big") :]


ODD: dict[str, Callable[[], bytes]] = {
    "jpeg/large-exif": large_exif,
    "jpeg/large-profile": lambda: pillow("JPEG", icc_profile=bytes(300_000)),
    "jpeg/motion-photo": lambda: pillow("JPEG") + sample("mp4/h264"),
    "jpeg/second-picture-missing": lambda: animation("MPO", frames=2).partition(b"\xff\xd9\xff\xd8")[0] + b"\xff\xd9",
    "png/16-bit": png_16_bit,
    "png/1-bit": lambda: pillow("PNG", mode="1"),
    "png/palette-with-transparency": lambda: pillow("PNG", mode="P", transparency=3),
    "png/default-image-and-animation": lambda: animation("PNG", default_image=True),
    "webp/odd-timings": lambda: timed("WEBP", [1, 0, 65535, 10, 7], lossless=True, minimize_size=True),
    "webp/mixed": lambda: timed("WEBP", [20, 40, 60], allow_mixed=True, background=(1, 2, 3, 4)),
    "gif/87a": lambda: b"GIF87a" + pillow("GIF", mode="L")[6:],
    "gif/interlaced": lambda: pillow("GIF", mode="P", interlace=1),
    "gif/odd-timings": lambda: timed("GIF", [0, 20, 1000, 5], disposal=[0, 1, 2, 3]),
    "heic/several": several_heic,
    "heic/odd-size": lambda: pillow("HEIF", size=(63, 41)),
    "mp4/hevc": lambda: video("mp4", "libx265"),
    "mp4/no-sound-one-frame": lambda: video("mp4", "libx264", frames=1),
    "mp4/dash": lambda: video("mp4", "libx264", movflags="dash+frag_keyframe+empty_moov"),
    "mp4/playstation": lambda: video("psp", "libx264", voice="aac", size=(160, 128)),
    "mov/no-brand": lambda: without_first_box(video("mov", "mpeg4")),
    "mov/prores-with-alpha": lambda: video("mov", "prores_ks", pixels="yuva444p10le"),
    "mov/animation-with-alpha": lambda: video("mov", "qtrle", pixels="argb"),
    "avi/pcm": lambda: video("avi", "mjpeg", voice="pcm_s16le", pixels="yuvj420p"),
    "avi/uncompressed": lambda: video("avi", "rawvideo", pixels="bgr24", frames=3),
    "3gp/aac": lambda: video("3gp", "h263", size=(176, 144), voice="aac"),
    "mp3/large-art": mp3_with_art,
    "mp3/cover": lambda: with_cover("mp3", "libmp3lame"),
    "mp3/8-khz": lambda: sound("mp3", "libmp3lame", rate=8000, id3v2_version="0", write_xing="0"),
    "ogg/art": opus_with_art,
    "ogg/opus-8-khz": lambda: sound("ogg", "libopus", rate=8000, bit_rate=6000),
    "ogg/chained": lambda: sample("ogg/opus") + sample("ogg/opus"),
    "wav/24-bit": lambda: sound("wav", "pcm_s24le", layout="stereo"),
    "wav/float": lambda: sound("wav", "pcm_f32le"),
    "wav/mu-law": lambda: sound("wav", "pcm_mulaw", rate=8000),
    "wav/mp3-inside": lambda: sound("wav", "libmp3lame", rate=44100),
    "wav/streamed": lambda: wav_by_wave().replace(b"data\x40\x1f\0\0", b"data\xff\xff\xff\xff"),
    "amr/wide": amr_wide,
    "aac/tag-in-front": lambda: b"ID3\4\0\0\0\0\0\x0a" + bytes(10) + sample("aac/adts"),
    "m4a/lossless": lambda: sound("ipod", "alac", rate=44100),
    "m4a/cover": lambda: with_cover("mp4", "aac"),
    "m4a/chapter-pictures": with_chapter_pictures,
    "pdf/byte-order-mark-in-front": lambda: pdf_by_hand(before=b"\xef\xbb\xbf"),
    "pdf/zeros-behind": lambda: pdf_by_hand() + bytes(3000),
    "pdf/no-end": lambda: pdf_by_hand().partition(b"startxref")[0],
    "docx/picture": docx_with_picture,
    "docx/streamed": lambda: streamed(docx_with_picture()),
    "docx/workbook-inside": lambda: office.with_entry(docx_with_picture(), "word/embeddings/a.xlsx", xlsx_with_chart()),
    "xlsx/chart": xlsx_with_chart,
    "pptx/movie": pptx_with_movie,
}
# Files with audio alone, of types that may hold video.
SOUND_ONLY: dict[str, Callable[[], bytes]] = {
    "mov/aac": lambda: remuxed(sample("m4a/isom"), "mov", only="audio"),
    "mov/no-brand": lambda: without_first_box(sound("mov", "pcm_s16le")),
    "avi/mp3": lambda: sound("avi", "libmp3lame", rate=44100),
    "mkv/aac": lambda: sound("matroska", "aac", rate=44100),
    "webm/opus": lambda: sound("webm", "libopus"),
    "webm/recorded-live": lambda: sound("webm", "libopus", live="1"),
}
