"""Error messages in other languages.

Errors are stored in English, in the catalogue, in events and in logs. For people a message is translated when it is
shown: it is matched against the English templates of `portuguese_messages`, and the values in it are kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
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
    for english, template in _templates(language):
        if (values := english.values_in(message)) is not None:
            return template.format(**{name: _translated(value, language, depth - 1) for name, value in values.items()})
    if "; " in message:
        return "; ".join(_translated(part, language, depth - 1) for part in message.split("; "))
    return message


@dataclass(frozen=True)
class _Template:
    """A message with values: the texts between them, one more than there are names.

    It is compared by looking for each text after the one before, because a regular expression with several values takes
    more than linear time, and strangers choose parts of a message.
    """

    names: tuple[str, ...]
    texts: tuple[str, ...]

    def values_in(self, message: str) -> dict[str, str] | None:
        """The values of a message of this form; None if it has another form. No value is empty."""
        first, *between, last = self.texts
        end = len(message) - len(last)
        if not (message.startswith(first) and message.endswith(last) and end > len(first)):
            return None
        starts, ends = [len(first)], []
        for text in between:
            at = message.find(text, starts[-1] + 1, end)
            if at < 0:
                return None
            ends.append(at)
            starts.append(at + len(text))
        ends.append(end)
        if starts[-1] >= end:
            return None
        return {name: message[start:stop] for name, start, stop in zip(self.names, starts, ends, strict=True)}


@cache
def _templates(language: str) -> list[tuple[_Template, str]]:
    """The templates with values and their translations, those with the most text of their own first."""
    templates = [(_template(english), own) for english, own in _MESSAGES[language].items() if "{" in english]
    return sorted(templates, key=lambda pair: -sum(map(len, pair[0].texts)))


def _template(english: str) -> _Template:
    parts = list(Formatter().parse(english))
    texts = [literal for literal, _, _, _ in parts]
    names = [name for _, name, _, _ in parts if name]
    return _Template(tuple(names), tuple(texts if len(texts) > len(names) else [*texts, ""]))
