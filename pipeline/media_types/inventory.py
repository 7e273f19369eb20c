"""Which decoders are there, and what confines them. Runs in the sandbox, for `esteira doctor`.

Libraries are loaded where they are asked for: one that is missing must not hide the others.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

CODECS = ("opus", "vorbis", "h264", "aac", "amrnb", "amrwb", "mp3")  # FFmpeg's names of what chats send


def sniffer() -> dict[str, Any]:
    """libmagic, asked about bytes that every version of it knows."""
    magic = importlib.import_module("magic")
    found = magic.from_buffer(b"%PDF-1.7\n", mime=True)
    return {
        "version": f"libmagic {magic.version() / 100:.2f}",
        "missing": [] if found == "application/pdf" else ["PDF"],
    }


def streams() -> dict[str, Any]:
    """FFmpeg's decoders, as PyAV brings them."""
    av = importlib.import_module("av")
    return {
        "version": f"PyAV {av.__version__}",
        "missing": [name for name in CODECS if name not in av.codecs_available],
    }


def pictures() -> dict[str, Any]:
    """Pillow, with the formats that it may have been built without."""
    pillow = importlib.import_module("PIL")
    features = importlib.import_module("PIL.features")
    heif = importlib.import_module("pillow_heif").libheif_info()
    there = {"WebP": features.check("webp"), "AVIF": features.check("avif"), "HEIF": heif["decoders"]}
    return {
        "version": f"Pillow {pillow.__version__}, libheif {heif['libheif']}",
        "missing": [name for name, found in there.items() if not found],
    }


def pages() -> dict[str, Any]:
    """pdfium."""
    return {"version": f"pdfium {importlib.import_module('pypdfium2').PDFIUM_INFO}", "missing": []}


def confinement() -> dict[str, Any]:
    """Whether a filter of system calls is in force (proc(5): Seccomp is 2), and the network namespace."""
    status = dict(line.partition(":\t")[::2] for line in Path("/proc/self/status").read_text().splitlines())
    return {"filtered": status.get("Seccomp") == "2", "network": str(Path("/proc/self/ns/net").readlink())}
