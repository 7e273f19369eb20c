"""The files of the load: generated from a seed, so that a file can be generated again instead of being kept."""

from __future__ import annotations

import hashlib
import io
import random
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image

from tests.support import hostile_files
from tests.support.samples import pdf_by_hand, sample

GOOD, REFUSED, BROKEN, POISON = "good", "refused", "broken", "poison"
SLOW = "slow"  # of a server that never sends all of it
PICTURES = ("jpeg", "png", "webp")
LARGE_PICTURE = "jpeg/large"  # about 10 MB: more than the buffers of a connection
OTHERS = {  # sample label → declared kind
    "mp4/h264": "video",
    "mov/mpeg4": "video",
    "avi/h264": "video",
    "ogg/opus": "ptt",
    "mp3/lame": "audio",
    "wav/wave": "audio",
    "pdf/pdfium": "document",
    "doc/libreoffice": "document",
    "xls/xlwt": "document",
    "docx/libreoffice": "document",
    "webp/animated": "sticker",
}
UNWANTED = ("html", "svg", "program", "archive", "text")
DAMAGED = ("jpeg", "png", "mp4", "pdf", "ole", "mp3")
POISONS = ("gif/animated", "heic/libheif", "m4a/aac", "3gp/h263")  # their decoders crash in scripts.faults.poisoned
POISON_KINDS = {"gif": "image", "heic": "image", "m4a": "audio", "3gp": "video"}


@dataclass(frozen=True)
class File:
    """One file of the load. `category` is GOOD, REFUSED, BROKEN, POISON or SLOW; `label` is its type within it."""

    seed: int
    category: str
    label: str
    kind: str

    @property
    def content(self) -> bytes:
        return _content(self.seed, self.category, self.label)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def expected_status(self) -> str:
        """The status that its attachment must get."""
        return "done" if self.category == GOOD else "rejected"


def next_file(rng: random.Random, *, poison: float = 0.0) -> File:
    """Returns a random file: a share `poison`; of the rest 70 % good, 20 % refused, 10 % broken.

    One file in ten has one of five seeds, so that its content is repeated.
    """
    seed = rng.randrange(1, 2**31) if rng.random() < 0.9 else rng.randrange(1, 6)
    if rng.random() < poison:
        label = rng.choice(POISONS)
        return File(seed, POISON, label, POISON_KINDS[label.partition("/")[0]])
    draw = rng.random()
    if draw < 0.45:
        return File(seed, GOOD, rng.choice(PICTURES), "image")
    if draw < 0.70:
        label = rng.choice(list(OTHERS))
        return File(seed, GOOD, label, OTHERS[label])
    if draw < 0.90:
        return File(seed, REFUSED, rng.choice(UNWANTED), "document")
    return File(seed, BROKEN, rng.choice(DAMAGED), "document")


@lru_cache(maxsize=256)
def _content(seed: int, category: str, label: str) -> bytes:
    if category == GOOD and label in PICTURES:
        return _picture(seed, label)
    if category == GOOD and label == LARGE_PICTURE:
        return _noise(random.Random(seed), 3000, 2200, "jpeg", quality=90)  # noqa: S311
    if category in {GOOD, POISON}:
        return _sample(label)
    if category == REFUSED:
        return _unwanted(label, seed)
    if category == SLOW:
        return b""
    return _damaged(label, seed)


def _picture(seed: int, form: str) -> bytes:
    rng = random.Random(seed)  # noqa: S311
    return _noise(rng, rng.randrange(40, 260), rng.randrange(40, 200), form, quality=70)


def _noise(rng: random.Random, width: int, height: int, form: str, *, quality: int) -> bytes:
    out = io.BytesIO()
    Image.frombytes("RGB", (width, height), rng.randbytes(width * height * 3)).save(out, form, quality=quality)
    return out.getvalue()


@lru_cache(maxsize=64)
def _sample(label: str) -> bytes:
    return sample(label)


def _unwanted(label: str, seed: int) -> bytes:
    mark = str(seed).encode()
    return {
        "html": b"<!DOCTYPE html><html><script>alert(" + mark + b")</script></html>",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>' + mark + b"</script></svg>",
        "program": b"#!/bin/sh\necho " + mark + b"\n",
        "archive": hostile_files.nested_zip(2),
        "text": b"only words, number " + mark + b"\n",
    }[label]


def _damaged(label: str, seed: int) -> bytes:
    if label in PICTURES:
        whole = _picture(seed, label)
        return whole[: len(whole) // 2]
    return {
        "mp4": hostile_files.mp4_boxes(hostile_files.FTYP),
        "pdf": pdf_by_hand()[:60],
        "ole": _sample("doc/libreoffice")[:1500],
        "mp3": hostile_files.mp3_tag_only(),
    }[label]
