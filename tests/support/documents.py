"""The project's own pages, taken apart so that tests can do what they say."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"

_FENCE = re.compile(r"^```(\S+)(?: (\S+))?\n(.*?)^```$", re.S | re.M)


@dataclass(frozen=True)
class Block:
    """A fenced block: `note` is the word after its language, `heading` the nearest one above it."""

    language: str
    note: str
    heading: str
    code: str


def blocks(page: str, section: str) -> list[Block]:
    """The blocks of one section of second level, in order."""
    parts = re.split(r"^## (.+)$", (DOCS / page).read_text(), flags=re.M)
    text = parts[parts.index(section) + 1]
    headings = [(found.start(), found[1]) for found in re.finditer(r"^### (.+)$", text, re.M)]
    return [
        Block(found[1], found[2] or "", _above(headings, found.start()), found[3]) for found in _FENCE.finditer(text)
    ]


def settings(ini: str) -> dict[str, str]:
    """The settings of a block, by their names."""
    return dict(line.split("=", 1) for line in ini.splitlines() if line and not line.startswith("#"))


def _above(headings: list[tuple[int, str]], place: int) -> str:
    return next((name for start, name in reversed(headings) if start < place), "")
