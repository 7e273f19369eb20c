"""Versions of the decoders and the confinement of this process. Runs in the sandbox, for `esteira doctor`.

Each function imports its own library: a missing library must not hide the state of the others.
"""

from __future__ import annotations

import importlib
from typing import Any

from pipeline.sandbox.confinement import report

# FFmpeg's names of the codecs that chat applications send.
CODECS = ("opus", "vorbis", "h264", "aac", "amrnb", "amrwb", "mp3")


def libmagic() -> dict[str, Any]:
    """Version of libmagic; "PDF" is missing if it does not recognize the start of a PDF."""
    magic = importlib.import_module("magic")
    mime = magic.from_buffer(b"%PDF-1.7\n", mime=True)
    return {
        "version": f"libmagic {magic.version() / 100:.2f}",
        "missing": [] if mime == "application/pdf" else ["PDF"],
    }


def ffmpeg() -> dict[str, Any]:
    """Version of PyAV, and those of CODECS that its FFmpeg cannot decode."""
    av = importlib.import_module("av")
    return {
        "version": f"PyAV {av.__version__}",
        "missing": [name for name in CODECS if name not in av.codecs_available],
    }


def pillow() -> dict[str, Any]:
    """Versions of Pillow and libheif, and the formats that they were built without."""
    pil = importlib.import_module("PIL")
    features = importlib.import_module("PIL.features")
    heif = importlib.import_module("pillow_heif").libheif_info()
    formats = {"WebP": features.check("webp"), "AVIF": features.check("avif"), "HEIF": heif["decoders"]}
    return {
        "version": f"Pillow {pil.__version__}, libheif {heif['libheif']}",
        "missing": [name for name, available in formats.items() if not available],
    }


def pdfium() -> dict[str, Any]:
    """Version of PDFium."""
    return {"version": f"pdfium {importlib.import_module('pypdfium2').PDFIUM_INFO}", "missing": []}


def confinement() -> dict[str, Any]:
    """What the confinement of this process has set up: see `confinement.report`."""
    return report()
