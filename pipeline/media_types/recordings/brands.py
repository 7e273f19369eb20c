"""Types of ISO base media files (MP4, MOV, HEIC and others) by the brands of their `ftyp` box (ISO/IEC 14496-12)."""

from __future__ import annotations

FAMILIES = {
    b"qt  ": "mov", b"heic": "heic", b"heix": "heic", b"hevc": "heic", b"hevx": "heic", b"heim": "heic",
    b"heis": "heic", b"avif": "avif", b"avis": "avif", b"M4A ": "m4a", b"M4B ": "m4a", b"M4P ": "m4a",
}  # fmt: skip
IMAGE_CONTAINERS = frozenset({b"mif1", b"msf1"})  # these major brands leave the codec to the compatible brands
UNSUPPORTED = frozenset({b"jp2 ", b"jpx ", b"jpm ", b"jxl ", b"crx ", b"mjp2"})  # JPEG 2000, JPEG XL, Canon raw
MAX_FTYP = 4096  # bytes; brands further on are ignored


def family(head: bytes) -> str | None:
    """Name of the type that the brands stand for, "mp4" for any other video brand; None if it is not supported.

    `head` is the start of a file whose first box is `ftyp`.
    """
    size = min(int.from_bytes(head[:4], "big"), len(head), MAX_FTYP)
    major = head[8:12]
    brands = [major, *(head[at : at + 4] for at in range(16, size - 3, 4))]
    if major in UNSUPPORTED or len(major) < 4:
        return None
    if major in IMAGE_CONTAINERS:
        return next((FAMILIES[brand] for brand in brands if FAMILIES.get(brand) in {"avif", "heic"}), None)
    if major[:2] in {b"3g", b"kd"}:
        return "3gp"
    return FAMILIES.get(major, "mp4")
