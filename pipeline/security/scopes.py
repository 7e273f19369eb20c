r"""The sessions that a caller may see: a list of patterns `gateway:session`.

Session names come from strangers and may contain any character. So a pattern is kept as its parts, never as text that
is matched: `*` is a wildcard only as the whole gateway, and at the end of the session. In the text form of a pattern a
backslash makes the next character an ordinary one: `waha:50\*` is the session `50*`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

MAX_PATTERNS = 100  # of one scope
MAX_PART = 512  # characters of a gateway or a session, as in an attachment
_PART = re.compile(r"(?:[^\\]|\\.)*", re.DOTALL)
_SPECIAL = re.compile(r"([\\*:,])")


class SessionPattern(NamedTuple):
    """Sessions of one gateway, or of all if `gateway` is None: the one with this name, or all that begin with it."""

    gateway: str | None
    name: str
    is_prefix: bool = False

    def includes(self, gateway: str, session: str) -> bool:
        """Whether this session of this gateway is one of them."""
        named = session.startswith(self.name) if self.is_prefix else session == self.name
        return named and self.gateway in {None, gateway}

    def __str__(self) -> str:
        gateway = "*" if self.gateway is None else _escaped(self.gateway)
        return f"{gateway}:{_escaped(self.name)}{'*' if self.is_prefix else ''}"


class Scope(NamedTuple):
    """The sessions of a caller. Without patterns (None) it is all sessions; with none of them it is no session."""

    patterns: tuple[SessionPattern, ...] | None

    @property
    def is_all(self) -> bool:
        return self.patterns is None

    def includes(self, gateway: str, session: str) -> bool:
        """Whether a caller with this scope may see this session of this gateway."""
        return self.patterns is None or any(pattern.includes(gateway, session) for pattern in self.patterns)

    def includes_name(self, session: str, gateways: Sequence[str]) -> bool:
        """Whether it includes every session of this name. `gateways` are those that have one.

        For what is known by the session's name alone, as a pause is: it concerns all of them.
        """
        if self.patterns is None:
            return True
        if any(pattern.gateway is None and pattern.includes("", session) for pattern in self.patterns):
            return True
        return bool(gateways) and all(self.includes(gateway, session) for gateway in gateways)

    def mentions(self, session: str) -> bool:
        """Whether it includes a session with this name of any gateway."""
        return self.patterns is None or any(
            pattern.includes(pattern.gateway or "", session) for pattern in self.patterns
        )

    def texts(self) -> list[str]:
        """The patterns as text, for people and for the catalogue; `["*"]` for all sessions."""
        return ["*"] if self.patterns is None else [str(pattern) for pattern in self.patterns]

    def __str__(self) -> str:
        return ", ".join(self.texts())


ALL_SESSIONS = Scope(None)
NO_SESSIONS = Scope(())


def one_session(gateway: str | None, session: str) -> Scope:
    """The scope of one session of a gateway; with None, of the sessions with this name of all gateways."""
    return Scope((SessionPattern(gateway, session),))


def parse_scope(texts: Sequence[str]) -> Scope:
    """The scope of these patterns; `*` alone is all sessions.

    Raises:
        ValueError: a pattern is wrong; the message says how to write it.
    """
    if list(texts) == ["*"]:
        return ALL_SESSIONS
    if not 0 < len(texts) <= MAX_PATTERNS:
        raise ValueError(f"needs 1 to {MAX_PATTERNS} patterns such as waha:shop-*")
    return Scope(tuple(dict.fromkeys(map(parse_pattern, texts))))


def parse_pattern(text: str) -> SessionPattern:
    """The pattern of a text such as `waha:shop`, `waha:shop-*` or `*:shop`.

    Raises:
        ValueError: it is wrong; the message says how to write it.
    """
    gateway, separator, session = _split(text)
    if not separator:
        raise ValueError(
            f"{text!r} names no gateway: write waha:{text}, media:{text} for what POST /hooks/media or Python send,"
            f" or *:{text} for all gateways"
        )
    is_prefix = _ends_with_wildcard(session)
    named = None if gateway == "*" else _unescaped(gateway, text)
    name = _unescaped(session[:-1] if is_prefix else session, text)
    if named == "" or not (name or is_prefix) or max(len(name), len(named or "")) > MAX_PART:
        raise ValueError(f"{text!r} is not a session: write waha:shop or waha:shop-*")
    return SessionPattern(named, name, is_prefix)


def split_list(text: str) -> list[str]:
    r"""The parts of a list that is separated by commas; `\,` is a comma inside of a part."""
    parts, start, escaped = [], 0, False
    for index, char in enumerate(text):
        if char == "," and not escaped:
            parts.append(text[start:index])
            start = index + 1
        escaped = char == "\\" and not escaped
    return [part.strip() for part in [*parts, text[start:]] if part.strip()]


def _split(text: str) -> tuple[str, str, str]:
    """The text before the first colon without a backslash, the colon, and the text after it."""
    escaped = False
    for index, char in enumerate(text):
        if char == ":" and not escaped:
            return text[:index], ":", text[index + 1 :]
        escaped = char == "\\" and not escaped
    return text, "", ""


def _ends_with_wildcard(text: str) -> bool:
    backslashes = len(text[:-1]) - len(text[:-1].rstrip("\\"))
    return text.endswith("*") and backslashes % 2 == 0


def _unescaped(text: str, pattern: str) -> str:
    if not _PART.fullmatch(text) or "*" in re.sub(r"\\.", "", text, flags=re.DOTALL):
        raise ValueError(f"{pattern!r}: `*` is the whole gateway or the end of a session's name; else write \\*")
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)
