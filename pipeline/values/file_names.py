"""Names of files as senders give them, made safe to show and to store."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from pipeline.values.gateway_values import clean_text

MAX_FILENAME_BYTES = 255  # the limit of common file systems
MAX_FILENAME_READ = 4096  # characters of a longer name that are read, and its end
MAX_EXTENSION = 16  # characters; what is longer is no extension
SEPARATOR = "_"  # in place of a slash within a name
FIRST_JOINING = "\u0590"  # the first character of the scripts and emoji that joiners change

_SEPARATORS = re.compile(r"[/\\]+")
# The beginning of a place on the sender's machine: a root, a drive or a scheme.
_PLACE = re.compile(r"[/\\]|[A-Za-z]:[/\\]|[A-Za-z][A-Za-z0-9+.-]{0,20}:[/\\]{2}")
WAY_UP = ".."
_INVISIBLE = frozenset({"Cc", "Cf", "Zl", "Zp"})
_JOINER = re.compile("[\u200c\u200d]+")
# The regions of flags, such as Scotland: a black flag, a few tags and the end tag. Other tags hide text.
_TAGS = re.compile("(\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,8}\U000e007f)|[\U000e0000-\U000e007f]")
# Signs of category Cf that are shown, such as the Arabic number sign.
_SHOWN = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")


def display_name(value: Any) -> Any:
    """A sender's file name for display: one name without control or direction marks, at most 255 bytes long.

    Of a path the last name is kept. A slash within a name, as in `nota 12/2024.pdf`, becomes `_`. Joiners stay where
    they change what is shown: in emoji, and in scripts from Hebrew on.
    """
    if not isinstance(value, str):
        return value
    if len(value) > 2 * MAX_FILENAME_READ:  # the patterns below take 0.2 s a megabyte
        value = value[:MAX_FILENAME_READ] + value[-MAX_FILENAME_READ:]
    name = _without_separators(value)
    if len(name) > MAX_FILENAME_READ:
        name = name[:MAX_FILENAME_READ] + name[-MAX_EXTENSION:]
    name = _visible(clean_text(name)).strip(" .")
    return _visible(_fitting_name(name)).strip(" .") or None


def _without_separators(value: str) -> str:
    parts = [part.strip() for part in _SEPARATORS.split(value)]
    names = [part for part in parts if part.strip(" .")]
    if not names:
        return ""
    is_place = _PLACE.match(value.lstrip()) or WAY_UP in parts
    return names[-1] if is_place else SEPARATOR.join(names)


def _visible(name: str) -> str:
    """The name without characters that are not shown, or that change how others are shown."""
    if name.isascii():
        return "".join(char for char in name if char.isprintable())
    name = "".join(char for char in name if _is_kept(char))
    name = _TAGS.sub(lambda match: match[1] or "", name)
    return _JOINER.sub(_joiner, name)


def _is_kept(char: str) -> bool:
    if unicodedata.category(char) not in _INVISIBLE or char in _SHOWN:
        return True
    return "\u200c" <= char <= "\u200d" or "\U000e0000" <= char <= "\U000e007f"


def _joiner(match: re.Match[str]) -> str:
    """The first of several joiners, if the character before or after it can be joined."""
    text, start, end = match.string, match.start(), match.end()
    return match[0][0] if any(map(_is_joined, (text[start - 1 : start], text[end : end + 1]))) else ""


def _is_joined(char: str) -> bool:
    return char >= FIRST_JOINING and unicodedata.category(char)[0] in "LMS"


def _fitting_name(name: str) -> str:
    """The name in at most MAX_FILENAME_BYTES bytes: the end of its stem is cut off, its extension stays."""
    if len(name.encode()) <= MAX_FILENAME_BYTES:
        return name
    stem, dot, ext = name.rpartition(".")
    if not stem or len(ext) >= MAX_EXTENSION:
        stem, dot, ext = name, "", ""
    end = dot + ext
    return stem.encode()[: MAX_FILENAME_BYTES - len(end.encode())].decode(errors="ignore") + end
