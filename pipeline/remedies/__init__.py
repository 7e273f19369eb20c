"""Texts for every error code of an attachment: what happened, and what to do."""

from __future__ import annotations

from typing import NamedTuple

from pipeline.errors import Code
from pipeline.remedies import english, portuguese

_TEXTS = {"en": english.TEXTS, "pt-BR": portuguese.TEXTS}
LANGUAGES = tuple(_TEXTS)

# Codes that no attachment ends with: they answer a request, or send the attachment to another stage.
NOT_RESULT_CODES = frozenset(
    {
        *(
            Code.FETCH_BUSY,
            Code.SUPERSEDED,
            Code.QUEUE,
            Code.BAD_SETTING,
            Code.UNAUTHORIZED,
            Code.FORBIDDEN,
            Code.NOT_FOUND,
        ),
        *(Code.NOT_ENDED, Code.NOT_PENDING, Code.TOO_MANY_REQUESTS, Code.NO_PREVIEW, Code.METHOD_NOT_ALLOWED),
    }
)


class Remedy(NamedTuple):
    """Two short texts: what happened, and what to do."""

    happened: str
    to_do: str


def remedy(code: str | None, *, language: str = "en") -> Remedy | None:
    """The texts for this code in one of LANGUAGES; None for None and for an unknown code."""
    texts = _TEXTS[language].get(code or "")
    return Remedy(*texts) if texts else None
