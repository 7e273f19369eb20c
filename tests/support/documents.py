"""Parser of the project's documents, so that tests can run their examples."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"

_FENCE = re.compile(r"^```(\S+)(?: (\S+))?\n(.*?)^```$", re.S | re.M)


@dataclass(frozen=True)
class Block:
    """A fenced code block. `note`: the word after its language; `heading`: the nearest heading above it."""

    language: str
    note: str
    heading: str
    code: str


def blocks(page: str, section: str) -> list[Block]:
    """Returns the blocks of a section (second-level heading), in order."""
    parts = re.split(r"^## (.+)$", (DOCS / page).read_text(), flags=re.M)
    text = parts[parts.index(section) + 1]
    headings = [(match.start(), match[1]) for match in re.finditer(r"^### (.+)$", text, re.M)]
    return [
        Block(match[1], match[2] or "", _above(headings, match.start()), match[3]) for match in _FENCE.finditer(text)
    ]


def settings(ini: str) -> dict[str, str]:
    """Returns the settings of a block by name."""
    return dict(line.split("=", 1) for line in ini.splitlines() if line and not line.startswith("#"))


def _above(headings: list[tuple[int, str]], position: int) -> str:
    return next((name for start, name in reversed(headings) if start < position), "")
