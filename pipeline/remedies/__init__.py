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


# Codes of which the file itself or its sender is the cause: no setting, no server and no further attempt helps.
SENDER_CODES = frozenset(
    {
        *(Code.URL_SCHEME, Code.NO_SOURCE, Code.SOURCE_GONE, Code.EMPTY, Code.HASH_MISMATCH, Code.BROKEN),
        *(Code.DECRYPT_FORMAT, Code.DECRYPT_KEY, Code.DECRYPT_MAC, Code.DECODER_CRASH, Code.POISON, Code.MALWARE),
        *(Code.EXPANDS_TOO_FAR, Code.BAD_PAYLOAD, Code.CANCELLED),
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


def is_fixable(code: str) -> bool:
    """Whether an operator can do something about this code and then replay; False for unknown codes."""
    return code in set(Code) and code not in SENDER_CODES
