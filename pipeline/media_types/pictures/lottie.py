"""Check of Lottie stickers: an animation as JSON, in a zip archive (WhatsApp, `.was`). Runs in the sandbox.

Format of animations: the Lottie specification 1.0 (lottie.github.io). WhatsApp reads at most 20 entries of 5 MB each.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from pipeline.media_types.archives.zip_archive import Archive, open_archive
from pipeline.media_types.archives.zip_entries import comparable
from pipeline.media_types.limits import Limits, parse_limits
from pipeline.sandbox import Reason, Refusal

MAIN = "animation/animation.json"
MAX_PARTS = 20  # entries of a sticker
MAX_PART_BYTES = 5_000_000  # unpacked size of an entry
MAX_BYTES = 10_000_000  # unpacked size of all entries: WhatsApp packs two animations
MAX_DEPTH = 128  # nested lists and objects
MAX_LAYERS = 5000  # layers that a player draws, those of a composition counted at each of its uses
MAX_NESTED = 32  # compositions within compositions
MAX_COPIES = 1000  # that repeaters draw of a shape
MAX_DIGITS = 20  # of a whole number: ids of 64 bits are among the metadata
LARGEST = 1e15  # of any number; players compute with floats of 32 bits
PICTURE = re.compile(r"data:image/(?:png|jpe?g|webp|gif);base64,[A-Za-z0-9+/=\s]*\Z")
PICTURE_NAMES = (".png", ".jpg", ".jpeg", ".webp", ".gif")

Json = Mapping[str, Any]


def inspect(file: int, *, limits: str, **_: Any) -> dict[str, Any]:
    """Size in pixels and duration in milliseconds of a sticker. All animations in the archive are checked.

    Raises:
        PermanentError: `expands_too_far`, `type_not_allowed` (entry names that lead out of the archive),
            `too_many_pixels`, `too_many_frames`, `too_long`; `broken`, also for animations that hold scripts, refer to
            other files, or are nested too deep or drawn from too many layers.
    """
    caps = parse_limits(limits)
    with open_archive(file, expansion=caps.expansion, entries=caps.entries) as archive:
        if len(archive.entries) > MAX_PARTS:
            raise Refusal(Reason.LOTTIE_PARTS, allowed=MAX_PARTS)
        if sum(entry.file_size for entry in archive.entries) > MAX_BYTES:
            raise Refusal(Reason.LOTTIE_BYTES, allowed=MAX_BYTES)
        archive.check_entries()
        parts = _read_parts(archive)
    facts = {name: check_animation(text, caps, files=parts.keys()) for name, text in parts.items() if _is_json(name)}
    if MAIN not in facts:
        raise Refusal(Reason.NO_LOTTIE)
    return facts[MAIN]


def _is_json(name: str) -> bool:
    return name.endswith(".json")


def _read_parts(archive: Archive) -> dict[str, bytes]:
    """The unpacked entries by their names, of which no two are equal."""
    return {comparable(entry.filename): archive.read(entry, MAX_PART_BYTES) for entry in archive.entries}


def check_animation(text: bytes, caps: Limits, *, files: Any = ()) -> dict[str, Any]:
    """The facts of an animation. `files` are the names of pictures that it may refer to.

    Raises:
        PermanentError: see `inspect`.
    """
    animation = _parse(text)
    _check_depth(animation)
    if not (isinstance(animation, dict) and isinstance(animation.get("layers"), list)):
        raise Refusal(Reason.NO_LOTTIE)
    width, height = (_number(animation, name) for name in ("w", "h"))
    if width * height > caps.pixels:
        raise Refusal(Reason.TOO_MANY_PIXELS, width=width, height=height, allowed_mpx=caps.pixels / 1e6)
    _check_references(animation, files)
    _check_repeaters(animation)
    _Layers(animation).check()
    return {"width": int(width), "height": int(height), "animated": True, "duration_ms": _duration_ms(animation, caps)}


def _duration_ms(animation: Json, caps: Limits) -> int:
    rate, end = _number(animation, "fr"), _number(animation, "op")
    start = animation.get("ip", 0)
    frames = end - start if isinstance(start, int | float) else 0
    if frames <= 0:
        raise Refusal(Reason.NO_LOTTIE)
    if frames > caps.frames:
        raise Refusal(Reason.TOO_MANY_FRAMES, frames=int(frames), allowed=caps.frames)
    duration = int(frames / rate * 1000) if rate * LARGEST > frames * 1000 else int(LARGEST)
    if duration > caps.duration_s * 1000:
        raise Refusal(Reason.TOO_LONG, seconds=duration // 1000, allowed=caps.duration_s)
    return duration


def _number(animation: Json, name: str) -> float:
    """A number above 0."""
    number = animation.get(name)
    if isinstance(number, bool) or not isinstance(number, int | float) or number <= 0:
        raise Refusal(Reason.NO_LOTTIE)
    return number


def _parse(text: bytes) -> Any:
    """The JSON of an animation, without what other parsers read differently."""
    try:
        return json.loads(
            text.decode("utf-8-sig"),
            object_pairs_hook=_object,
            parse_int=_whole,
            parse_float=_float,
            parse_constant=_refuse_constant,
        )
    except RecursionError as error:
        raise Refusal(Reason.TOO_DEEP, allowed=MAX_DEPTH) from error
    except ValueError as error:
        raise Refusal(Reason.JSON_BROKEN) from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise Refusal(Reason.JSON_BROKEN)
    if isinstance(expression := fields.get("x"), str) and expression:  # a property's script; a number elsewhere
        raise Refusal(Reason.LOTTIE_SCRIPT)
    return fields


def _check_repeaters(animation: Any) -> None:
    """Checks how often repeaters draw a shape: those of a list multiply each other, and those of the groups around."""
    pending = [(animation, 1.0)]
    while pending:
        node, copies = pending.pop()
        if isinstance(node, list):
            for shape in node:
                if isinstance(shape, dict) and shape.get("ty") == "rp":
                    copies *= _most_copies(shape.get("c"))
            if copies > MAX_COPIES:
                raise Refusal(Reason.LOTTIE_LAYERS, allowed=MAX_COPIES)
        children = node.values() if isinstance(node, dict) else node
        pending += [(child, copies) for child in children if isinstance(child, dict | list)]


def _most_copies(copies: Any) -> float:
    """The most copies that a repeater draws, which may change from frame to frame; 1 if it draws fewer."""
    value = copies.get("k") if isinstance(copies, dict) else copies
    numbers = [value]
    if isinstance(value, list):
        numbers = [number for frame in value if isinstance(frame, dict) for number in _start_values(frame)]
    return max((number for number in numbers if isinstance(number, int | float) and number > 1), default=1)


def _start_values(frame: Json) -> list[Any]:
    values = [frame.get("s"), frame.get("e")]
    return [number for value in values for number in (value if isinstance(value, list) else [value])]


def _whole(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise Refusal(Reason.JSON_BROKEN)
    return int(digits)


def _float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number) or abs(number) > LARGEST:
        raise Refusal(Reason.JSON_BROKEN)
    return number


def _refuse_constant(_name: str) -> float:
    raise Refusal(Reason.JSON_BROKEN)


def _check_depth(animation: Any) -> None:
    level, depth = [animation], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise Refusal(Reason.TOO_DEEP, allowed=MAX_DEPTH)
        children = (child for node in level for child in (node.values() if isinstance(node, dict) else node))
        level = [child for child in children if isinstance(child, dict | list)]


def _check_references(animation: Json, files: Any) -> None:
    """Checks that pictures are in the animation or in its archive, and that fonts are loaded from nowhere."""
    for asset in _objects(animation.get("assets")):
        path = f"{asset.get('u') or ''}{asset.get('p') or ''}"
        if path and not PICTURE.match(path) and not _is_part(path.lower(), files):
            raise Refusal(Reason.LOTTIE_REFERENCE)
    fonts = animation.get("fonts")
    for font in _objects(fonts.get("list") if isinstance(fonts, dict) else None):
        if font.get("fPath"):
            raise Refusal(Reason.LOTTIE_REFERENCE)


def _is_part(path: str, files: Any) -> bool:
    return path.endswith(PICTURE_NAMES) and (path in files or f"animation/{path}" in files)


def _objects(value: Any) -> list[Json]:
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []


class _Layers:
    """Counts the layers that a player draws: a composition is drawn at each of its uses."""

    def __init__(self, animation: Json) -> None:
        self._layers = animation["layers"]
        self._compositions = {
            asset["id"]: asset["layers"]
            for asset in _objects(animation.get("assets"))
            if isinstance(asset.get("id"), str | int) and "layers" in asset
        }
        self._counts: dict[Any, int] = {}

    def check(self) -> None:
        """Raises PermanentError (`broken`) if there are too many layers, or a composition contains itself."""
        self._count(self._layers, depth=0)

    def _count(self, layers: Any, *, depth: int) -> int:
        if depth > MAX_NESTED:  # also of a composition that contains itself
            raise Refusal(Reason.TOO_DEEP, allowed=MAX_NESTED)
        count = 0
        for layer in _objects(layers):
            count += 1 + self._count_composition(layer.get("refId"), depth=depth)
            if count > MAX_LAYERS:
                raise Refusal(Reason.LOTTIE_LAYERS, allowed=MAX_LAYERS)
        return count

    def _count_composition(self, name: Any, *, depth: int) -> int:
        if not isinstance(name, str | int) or name not in self._compositions:
            return 0
        if name not in self._counts:
            self._counts[name] = self._count(self._compositions[name], depth=depth + 1)
        return self._counts[name]
