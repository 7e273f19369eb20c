"""Times and names in texts. The browser formats times in its own time zone, and shows the zone's name on hover."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any, Literal

from nicegui.element import Element

from esteira.web.dashboard.parts import attributed
from esteira.web.dashboard.texts import TEXTS
from esteira.web.dashboard.view import View

# Around the milliseconds of a time in a text. Texts for people have no such characters: they are not printable.
MARK = "\ue000"
_MARKED = re.compile(f"{MARK}([0-9]+){MARK}")


@dataclass(frozen=True)
class Moment:
    """A time in Unix milliseconds; `time` shows it without its date."""

    ms: int
    style: Literal["full", "time"] = "full"


@dataclass(frozen=True)
class IsolatedName:
    """A name from outside: its direction of writing does not change that of the text around it."""

    name: str


Piece = str | Moment | IsolatedName


class Phrase(Element, component="static/phrase.js"):
    """An element with a text that contains times. The text is shown without interpreting markup."""

    def __init__(self, view: View, tag: str, pieces: Sequence[Piece], classes: str = "", **attributes: Any) -> None:
        super().__init__()
        self._pieces: Sequence[Piece] = ()
        self._props["root"], self._props["pieces"] = tag, []
        self._props["language"] = view.language
        self.classes(classes)
        attributed(self, attributes)
        self.show(pieces)

    def show(self, pieces: Sequence[Piece]) -> None:
        """Replaces the text."""
        if tuple(pieces) == self._pieces:
            return
        self._pieces = tuple(pieces)
        self._props["pieces"] = [piece if isinstance(piece, str) else vars(piece) for piece in pieces]
        self.update()


def moment(view: View, tag: str, ms: int, classes: str = "", **attributes: str | int) -> Phrase:
    """Adds an element that shows one time."""
    return Phrase(view, tag, (Moment(ms),), classes, **attributes)


def pieces_of(view: View, key: str, **values: object) -> tuple[Piece, ...]:
    """The text of a key, in which values may be times and names."""
    return tuple(_pieces(TEXTS[view.language][key], values))


def joined(pieces: Iterable[Piece | None], separator: str = " · ") -> tuple[Piece, ...]:
    """The pieces with a separator between them, without those that are empty."""
    wanted = [piece for piece in pieces if piece]
    return tuple(part for piece in wanted for part in (separator, piece))[1:]


def marked(ms: int) -> str:
    """A time as part of a text for `unmarked`."""
    return f"{MARK}{ms}{MARK}"


def unmarked(content: str) -> tuple[Piece, ...]:
    """The pieces of a text with times from `marked`."""
    parts = _MARKED.split(content)
    return tuple(Moment(int(part)) if index % 2 else part for index, part in enumerate(parts) if part)


def _pieces(template: str, values: dict[str, object]) -> Iterator[Piece]:
    for literal, name, _, _ in Formatter().parse(template):
        if literal:
            yield literal
        if name is not None:
            value = values[name]
            yield value if isinstance(value, Moment | IsolatedName) else str(value)
