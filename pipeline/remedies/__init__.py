"""What happened and what to do, in plain words, for every code that an attachment can end with."""

from __future__ import annotations

from typing import NamedTuple

from pipeline.errors import Code
from pipeline.remedies import english, portuguese

_TEXTS = {"en": english.TEXTS, "pt-BR": portuguese.TEXTS}
LANGUAGES = tuple(_TEXTS)

# These answer who asks, or send an attachment somewhere else: none ends with them.
NOT_ENDINGS = frozenset(
    {
        *(Code.FETCH_BUSY, Code.SUPERSEDED, Code.QUEUE, Code.BAD_SETTING, Code.UNAUTHORIZED, Code.NOT_FOUND),
        *(Code.NOT_ENDED, Code.NOT_PENDING, Code.TOO_MANY_REQUESTS, Code.NO_PREVIEW, Code.METHOD_NOT_ALLOWED),
    }
)


class Remedy(NamedTuple):
    """Two texts of a sentence or two: what happened, and what to do."""

    happened: str
    to_do: str


def remedy(code: str | None, *, language: str = "en") -> Remedy | None:
    """The texts for this code in one of LANGUAGES; None for a code that is unknown, or none."""
    texts = _TEXTS[language].get(code or "")
    return Remedy(*texts) if texts else None
