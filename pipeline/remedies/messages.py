"""Error messages in other languages.

Errors are stored in English, in the catalogue, in events and in logs. For people a message is translated when it is
shown: it is matched against the English templates of `portuguese_messages`, and the values in it are kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from string import Formatter

from pipeline.errors import Code
from pipeline.remedies.portuguese_messages import MESSAGES

_MESSAGES: Mapping[str, Mapping[str, str]] = {"pt-BR": MESSAGES}
_CODE = re.compile(f"({'|'.join(sorted(Code, key=len, reverse=True))}): (.+)", re.DOTALL)
MAX_DEPTH = 4  # of messages within messages; strangers may write parts of a message


def translated(message: str, language: str) -> str:
    """The message in this language; unchanged if it is in English, or of an older or newer version."""
    return _translated(message, language, MAX_DEPTH) if language in _MESSAGES else message


@lru_cache(maxsize=2000)
def _translated(message: str, language: str, depth: int) -> str:
    if depth == 0:
        return message
    if with_code := _CODE.fullmatch(message):
        return f"{with_code[1]}: {_translated(with_code[2], language, depth - 1)}"
    if exact := _MESSAGES[language].get(message):
        return exact
    for pattern, template in _patterns(language):
        if match := pattern.fullmatch(message):
            values = match.groupdict()
            return template.format(**{name: _translated(value, language, depth - 1) for name, value in values.items()})
    if "; " in message:
        return "; ".join(_translated(part, language, depth - 1) for part in message.split("; "))
    return message


@cache
def _patterns(language: str) -> list[tuple[re.Pattern[str], str]]:
    """The templates with values as patterns, those with the most text of their own first."""
    templates = [(english, own) for english, own in _MESSAGES[language].items() if "{" in english]
    templates.sort(key=lambda pair: -sum(len(literal) for literal, *_ in Formatter().parse(pair[0])))
    return [(_pattern(english), own) for english, own in templates]


def _pattern(template: str) -> re.Pattern[str]:
    parts = (
        re.escape(literal) + (f"(?P<{name}>.+?)" if name else "") for literal, name, _, _ in Formatter().parse(template)
    )
    return re.compile("".join(parts), re.DOTALL)
