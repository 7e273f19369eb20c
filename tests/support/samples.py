"""Sample files of every media type by several producers, such as Pillow, FFmpeg, PDFium and LibreOffice.

`SAMPLES` maps a label "type/producer" to the function that makes the file; `sample(label)` caches its bytes.
"""

from __future__ import annotations

import functools
import io
import lzma
import math
import struct
import tempfile
import wave
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import docx
import numpy as np
import openpyxl
import pillow_heif
import pptx
import pypdfium2
import xlwt
from PIL import Image

from pipeline.media_types import MEDIA_TYPES, MediaType
from tests.support import compound_files as office
from tests.support import data_files as data

FILES = Path(__file__).parents[1] / "files"
# Types that are accepted only if ALLOWED_TYPES names them.
OPTIONAL_TYPES = frozenset(
    {"avif", "mkv", "webm", "flac", "ppt", "text", "csv", "rtf", "xml", "vcf", "ofx", "zip"}
    | {"dotx", "dotm", "xltx", "xltm", "xlsb", "potx", "potm", "ppsm"}
)
SIZE = (160, 120)

pillow_heif.register_heif_opener()


@functools.cache
def sample(label: str) -> bytes:
    """Bytes of this sample."""
    return SAMPLES[label]()


def media_type_of(label: str) -> MediaType:
    """Media type of this sample."""
    return MEDIA_TYPES[label.partition("/")[0]]


def stored(name: str) -> bytes:
    """Content of a file in tests/files."""
    content = (FILES / name).read_bytes()
    return lzma.decompress(content) if name.endswith(".xz") else content


def picture(size: tuple[int, int] = SIZE, *, seed: int = 1, mode: str = "RGB") -> Image.Image:
    """A smooth random image, different for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).convert(mode)


def pillow(form: str, *, mode: str = "RGB", size: tuple[int, int] = SIZE, **options: Any) -> bytes:
    out = io.BytesIO()
    picture(size, mode=mode).save(out, form, **options)
    return out.getvalue()


def animation(form: str, frames: int = 5, size: tuple[int, int] = (64, 48), **options: Any) -> bytes:
    out = io.BytesIO()
    first, *rest = [picture(size, seed=seed) for seed in range(frames)]
    first.save(out, form, save_all=True, append_images=rest, duration=100, **options)
    return out.getvalue()


def turned(form: str) -> bytes:
    """An image with EXIF orientation 6 (rotated by 90 degrees)."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return pillow(form, exif=exif)


def png_by_hand(width: int = 3, height: int = 2, *, chunks: bytes = b"", rows: bytes | None = None) -> bytes:
    body = zlib.compress(b"".join(b"\0" + bytes(3 * width) for _ in range(height)) if rows is None else rows)
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunks + png_chunk(b"IDAT", body) + png_chunk(b"IEND", b"")


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def ffmpeg_picture(codec: str, pixel_format: str) -> bytes:
    context = av.CodecContext.create(codec, "w")
    context.width, context.height, context.pix_fmt, context.time_base = *SIZE, pixel_format, 1
    frame = av.VideoFrame.from_image(picture()).reformat(format=pixel_format)
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])


def tone(samples: int, *, offset: int, rate: int) -> np.ndarray:
    times = (np.arange(samples) + offset) / rate
    return (np.sin(2 * math.pi * 440 * times) * 12_000).astype(np.int16).reshape(1, -1)


def speak(box: Any, stream: Any, rate: int, seconds: float) -> None:
    """Encodes a tone into `stream`."""
    context = stream.codec_context
    resampler = av.AudioResampler(
        format=context.format, layout=context.layout, rate=rate, frame_size=context.frame_size
    )
    frames = []
    for offset in range(0, int(rate * seconds), 960):
        frame = av.AudioFrame.from_ndarray(tone(960, offset=offset, rate=rate), format="s16", layout="mono")
        frame.sample_rate, frame.pts = rate, offset
        frames += resampler.resample(frame)
    for ready in [*frames, *resampler.resample(None), None]:
        box.mux(stream.encode(ready))


def sound(
    form: str,
    codec: str,
    *,
    rate: int = 48000,
    seconds: float = 1.0,
    layout: str = "mono",
    bit_rate: int = 0,
    **muxer: str,
) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format=form, options=muxer) as box:
        stream = box.add_stream(codec, rate=rate, layout=layout, options={"strict": "experimental"})
        if bit_rate:
            stream.bit_rate = bit_rate
        speak(box, stream, rate, seconds)
    return out.getvalue()


def video(
    form: str,
    codec: str,
    *,
    size: tuple[int, int] = SIZE,
    frames: int = 10,
    voice: str | None = None,
    rotation: int = 0,
    pixels: str = "yuv420p",
    **muxer: str,
) -> bytes:
    """A clip with 25 frames a second, and with a second of a tone if an audio codec (`voice`) is named."""
    with tempfile.NamedTemporaryFile() as file:  # some muxers read their own output
        with av.open(file.name, "w", format=form, options=muxer) as box:
            stream = box.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = *size, pixels
            if rotation:
                stream.set_display_rotation(rotation)
            talk = box.add_stream(voice, rate=44100, layout="mono") if voice else None
            for seed in range(frames):
                box.mux(stream.encode(av.VideoFrame.from_image(picture(size, seed=seed)).reformat(format=pixels)))
            box.mux(stream.encode(None))
            if talk:
                speak(box, talk, 44100, 1.0)
        return Path(file.name).read_bytes()


def wav_by_wave(seconds: float = 0.5, rate: int = 8000) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(tone(int(rate * seconds), offset=0, rate=rate).tobytes())
    return out.getvalue()


def pdf_by_hand(pages: int = 2, *, catalog: str = "", before: bytes = b"", objects: tuple[str, ...] = ()) -> bytes:
    """A PDF with a correct cross-reference table, whatever its objects contain."""
    kids = " ".join(f"{3 + page} 0 R" for page in range(pages))
    bodies = [f"<< /Type /Catalog /Pages 2 0 R {catalog} >>", f"<< /Type /Pages /Count {pages} /Kids [{kids}] >>"]
    bodies += ["<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 300] >>"] * pages
    out, places = before + b"%PDF-1.4\n", []
    for number, body in enumerate([*bodies, *objects], 1):
        places.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1")
    table = "".join(f"{place - len(before):010} 00000 n \n" for place in places)
    start, count = len(out) - len(before), len(places) + 1
    return out + (
        f"xref\n0 {count}\n0000000000 65535 f \n{table}trailer\n<< /Size {count} /Root 1 0 R >>\n"
        f"startxref\n{start}\n%%EOF\n"
    ).encode("latin-1")


def pdf_by_pdfium() -> bytes:
    out = io.BytesIO()
    with pypdfium2.PdfDocument.new() as document:
        document.new_page(200, 300)
        document.save(out)
    return out.getvalue()


def docx_by_library() -> bytes:
    document, out = docx.Document(), io.BytesIO()
    document.add_paragraph("Contrato de aluguel, São Paulo")
    document.save(out)
    return out.getvalue()


def xlsx_by_library() -> bytes:
    book, out = openpyxl.Workbook(), io.BytesIO()
    for number in range(10):
        book.active.append([number, f"=A{number + 1}*2"])
    book.save(out)
    return out.getvalue()


def pptx_by_library() -> bytes:
    show, out = pptx.Presentation(), io.BytesIO()
    show.slides.add_slide(show.slide_layouts[5])
    show.save(out)
    return out.getvalue()


def xls_by_library(rows: int = 3) -> bytes:
    book, out = xlwt.Workbook(), io.BytesIO()
    sheet = book.add_sheet("Planilha")
    for number in range(rows):
        sheet.write(number, 0, f"linha {number}")
    book.save(out)
    return out.getvalue()


def with_macros(content: bytes, main: str, macro_main: str) -> bytes:
    return office.with_entry(office.retyped(content, main, macro_main), "word/vbaProject.bin", b"macros")


_OFFICE = "application/vnd.openxmlformats-officedocument"
_MACROS = "macroEnabled.main+xml"

# Variants of Office types: the type that is changed, and the new content type of its main part.
VARIANTS = {
    "ppsx": ("pptx", f"{_OFFICE}.presentationml.slideshow"),
    "dotx": ("docx", f"{_OFFICE}.wordprocessingml.template"),
    "xltx": ("xlsx", f"{_OFFICE}.spreadsheetml.template"),
    "potx": ("pptx", f"{_OFFICE}.presentationml.template"),
    "dotm": ("docx", "application/vnd.ms-word.template.macroEnabledTemplate"),
    "xltm": ("xlsx", "application/vnd.ms-excel.template.macroEnabled"),
    "potm": ("pptx", "application/vnd.ms-powerpoint.template.macroEnabled"),
    "ppsm": ("pptx", "application/vnd.ms-powerpoint.slideshow.macroEnabled"),
}


def office_variant(name: str) -> bytes:
    base, content_type = VARIANTS[name]
    main = {"docx": "wordprocessingml.document", "xlsx": "spreadsheetml.sheet", "pptx": "presentationml.presentation"}
    by_library = {"docx": docx_by_library, "xlsx": xlsx_by_library, "pptx": pptx_by_library}[base]
    return office.retyped(by_library(), f"{_OFFICE}.{main[base]}.main+xml", f"{content_type}.main+xml")


SAMPLES: dict[str, Callable[[], bytes]] = {
    "jpeg/pillow": lambda: pillow("JPEG"),
    "jpeg/progressive": lambda: pillow("JPEG", progressive=True, quality=90),
    "jpeg/cmyk": lambda: pillow("JPEG", mode="CMYK"),
    "jpeg/grey": lambda: pillow("JPEG", mode="L", comment=b"<?php system('id'); ?>"),
    "jpeg/turned": lambda: turned("JPEG"),
    "jpeg/two-pictures": lambda: animation("MPO", frames=2),
    "jpeg/ffmpeg": lambda: ffmpeg_picture("mjpeg", "yuvj420p"),
    "png/pillow": lambda: pillow("PNG"),
    "png/transparent": lambda: pillow("PNG", mode="RGBA"),
    "png/palette": lambda: pillow("PNG", mode="P"),
    "png/animated": lambda: animation("PNG"),
    "png/hand": png_by_hand,
    "png/ffmpeg": lambda: ffmpeg_picture("png", "rgb24"),
    "webp/pillow": lambda: pillow("WEBP"),
    "webp/lossless": lambda: pillow("WEBP", mode="RGBA", lossless=True),
    "webp/turned": lambda: turned("WEBP"),
    "webp/animated": lambda: animation("WEBP"),
    "gif/pillow": lambda: pillow("GIF", mode="P"),
    "gif/animated": lambda: animation("GIF"),
    "gif/ffmpeg": lambda: video("gif", "gif", frames=3, pixels="rgb8"),
    "heic/libheif": lambda: pillow("HEIF"),
    "heic/transparent": lambda: pillow("HEIF", mode="RGBA", quality=40),
    "avif/pillow": lambda: pillow("AVIF"),
    "avif/animated": lambda: animation("AVIF"),
    "mp4/h264": lambda: video("mp4", "libx264", voice="aac"),
    "mp4/fast-start": lambda: video("mp4", "libx264", movflags="faststart"),
    "mp4/fragmented": lambda: video("mp4", "libx264", movflags="frag_keyframe+empty_moov+default_base_moof"),
    "mp4/mpeg4": lambda: video("mp4", "mpeg4"),
    "mp4/turned": lambda: video("mp4", "libx264", rotation=90),
    "mov/h264": lambda: video("mov", "libx264", voice="aac"),
    "mov/mpeg4": lambda: video("mov", "mpeg4"),
    "avi/mpeg4": lambda: video("avi", "mpeg4", voice="libmp3lame"),
    "avi/h264": lambda: video("avi", "libx264"),
    "3gp/h263": lambda: video("3gp", "h263", size=(176, 144)),
    "3gp/h264": lambda: video("3gp", "libx264"),
    "3ga/amr": lambda: sound("3gp", "libopencore_amrnb", rate=8000, bit_rate=12200),
    "mkv/h264": lambda: video("matroska", "libx264", voice="aac"),
    "webm/vp9": lambda: video("webm", "libvpx-vp9"),
    "webm/vp8": lambda: video("webm", "libvpx"),
    "ogg/opus": lambda: sound("ogg", "libopus"),
    "ogg/vorbis": lambda: sound("ogg", "vorbis", rate=44100, layout="stereo"),
    "ogg/flac": lambda: sound("ogg", "flac", rate=44100),
    "mp3/lame": lambda: sound("mp3", "libmp3lame", rate=44100),
    "mp3/no-tag": lambda: sound("mp3", "libmp3lame", rate=22050, id3v2_version="0", write_xing="0"),
    "wav/wave": wav_by_wave,
    "wav/ffmpeg": lambda: sound("wav", "pcm_s16le"),
    "wav/adpcm": lambda: sound("wav", "adpcm_ms", rate=44100),
    "m4a/aac": lambda: sound("ipod", "aac", rate=44100),
    "m4a/isom": lambda: sound("mp4", "aac", rate=44100),
    "aac/adts": lambda: sound("adts", "aac", rate=44100),
    "amr/narrow": lambda: sound("amr", "libopencore_amrnb", rate=8000, bit_rate=12200),
    "flac/ffmpeg": lambda: sound("flac", "flac", rate=44100),
    "pdf/hand": pdf_by_hand,
    "pdf/pillow": lambda: pillow("PDF"),
    "pdf/pdfium": pdf_by_pdfium,
    "pdf/libreoffice": lambda: stored("libreoffice.pdf"),
    "pdf/garbage-in-front": lambda: pdf_by_hand(before=b"\r\n\x00junk\x01" * 50),
    "doc/libreoffice": lambda: stored("libreoffice.doc"),
    "doc/hand": lambda: office.ole({"WordDocument": office.word_stream()}),
    "xls/xlwt": xls_by_library,
    "xls/libreoffice": lambda: stored("libreoffice.xls"),
    "xls/hand": lambda: office.ole({"Book": office.workbook_stream()}),
    "ppt/libreoffice": lambda: stored("libreoffice.ppt.xz"),
    "docx/python-docx": docx_by_library,
    "docx/libreoffice": lambda: stored("libreoffice.docx"),
    "docx/hand": office.package,
    "xlsx/openpyxl": xlsx_by_library,
    "xlsx/libreoffice": lambda: stored("libreoffice.xlsx"),
    "pptx/python-pptx": pptx_by_library,
    "pptx/libreoffice": lambda: stored("libreoffice.pptx"),
    "docm/python-docx": lambda: with_macros(
        docx_by_library(), office.WORD_MAIN, f"application/vnd.ms-word.document.{_MACROS}"
    ),
    "xlsm/openpyxl": lambda: with_macros(
        xlsx_by_library(), f"{_OFFICE}.spreadsheetml.sheet.main+xml", f"application/vnd.ms-excel.sheet.{_MACROS}"
    ),
    "pptm/python-pptx": lambda: with_macros(
        pptx_by_library(),
        f"{_OFFICE}.presentationml.presentation.main+xml",
        f"application/vnd.ms-powerpoint.presentation.{_MACROS}",
    ),
    **{f"{name}/retyped": functools.partial(office_variant, name) for name in VARIANTS},
    "xlsb/hand": office.binary_workbook,
    "text/utf-8": lambda: "Olá, ação\n".encode() * 20,
    "text/windows-1252": lambda: "Olá, ação\r\n".encode("cp1252") * 20,
    "csv/comma": lambda: b"nome,idade,cidade\n" + "João,31,Recife\nZoé,28,Natal\n".encode() * 20,
    "rtf/libreoffice": lambda: stored("libreoffice.rtf"),
    "rtf/hand": lambda: rb"{\rtf1\ansi Contrato de aluguel.}",
    "xml/utf-8": lambda: data.invoice("UTF-8").encode(),
    "xml/utf-8-mark": lambda: data.invoice("UTF-8").encode("utf-8-sig"),
    "xml/utf-16": lambda: data.invoice("UTF-16").encode("utf-16"),
    "xml/utf-16-without-mark": lambda: data.invoice("UTF-16").encode("utf-16-be"),
    "xml/latin-1": lambda: data.invoice("ISO-8859-1").encode("latin-1"),
    "xml/windows-1252": lambda: data.invoice("windows-1252").encode("cp1252"),
    "xml/no-declaration": data.INVOICE.encode,
    "vcf/3.0": lambda: data.card("3.0").encode(),
    "vcf/4.0": lambda: data.card("4.0").encode(),
    "vcf/2.1": data.old_card,
    "vcf/several": lambda: data.card("3.0").encode() * 50 + data.old_card(),
    "vcf/joined": lambda: data.card("3.0").encode("utf-8-sig") * 3,
    "vcf/utf-16": lambda: data.card("3.0").encode("utf-16"),
    "ofx/1.x": data.statement,
    "ofx/1.x-one-line": lambda: data.statement(line_end=b" "),
    "ofx/2.x": data.xml_statement,
    "zip/deflated": lambda: data.archive({"nota.txt": b"x" * 500, "pasta/foto.jpg": b"y" * 100}),
    "zip/stored": lambda: data.archive({"nota.txt": b"x"}, method=zipfile.ZIP_STORED),
    "zip/lzma": lambda: data.archive({"nota.txt": b"x" * 500}, method=zipfile.ZIP_LZMA),
    "zip/encrypted": data.encrypted_archive,
    "was/whatsapp": data.sticker,
    "was/two-animations": lambda: data.sticker(**{"animation/animation_secondary.json": data.ANIMATION}),
}
