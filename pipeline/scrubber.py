"""Removes secrets from everything that people read: logs, error messages, Sentry and traces."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

HIDDEN = "[hidden]"
CUT = "…"
MIN_SECRET_LENGTH = 6  # characters; a shorter secret would hide parts of ordinary words
MAX_TEXT = 32_768  # characters of one text that are read; the rest is cut off
MAX_NAME = 200  # characters; the value under a longer name is hidden
MAX_DEPTH = 20  # levels of mappings and lists; what is deeper is left out
SECRET_NAME = re.compile(
    r"media[_-]?key|token|secret|password|authorization|api[_-]?key|signature|^(data|body|payload)$", re.I
)
# Both patterns consume what they match, so they take linear time on any text.
URL = re.compile(r"://(?:[^\s/?]*@)?([^\s?#\"']*)(\?[^\s\"']*)?")
HOOK = re.compile(r"(/hooks/[\w-]+[/?])[^\s\"']+")  # the last part of a gateway's webhook path may be its secret

NUMBER_OR_NONE = frozenset({int, float, bool, type(None)})

Scrub = Callable[[Any], Any]


class Scrubber:
    """A function that returns a copy of a text, list or mapping without secrets; other values stay as they are.

    It replaces the values of `secrets`, values under a name such as `token`, logins and queries in URLs, and the last
    part of a webhook path. A text is cut after MAX_TEXT characters.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = _with_repr(secrets)
        self._longest = max(map(len, self._secrets), default=0)

    def __call__(self, value: Any, depth: int = 0) -> Any:
        # Every line of every log comes through here: the usual types are recognised first.
        kind = type(value)
        if kind is str:
            return self.text(value)
        if kind in NUMBER_OR_NONE:
            return value
        if isinstance(value, str):
            return self.text(str(value))
        if not isinstance(value, Mapping | list | tuple):
            return value
        if depth == MAX_DEPTH:
            return CUT
        if isinstance(value, Mapping):
            return {
                key: HIDDEN
                if _is_secret_name(key) and item
                else self.text(item)
                if type(item) is str
                else self(item, depth + 1)
                for key, item in value.items()
            }
        return [self(item, depth + 1) for item in value]

    def text(self, text: str, limit: int = MAX_TEXT) -> str:
        """The text without secrets, and at most `limit` characters long."""
        if len(text) > limit:
            return self._long_text(text, limit)
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, HIDDEN)
        if "://" in text:
            text = URL.sub(_scrub_url, text)
        if "/hooks/" in text:
            text = HOOK.sub(rf"\1{HIDDEN}", text)
        return text if len(text) <= limit else cut(text, limit)

    def _long_text(self, text: str, limit: int) -> str:
        """The beginning of a text that is longer than `limit`. A secret that begins before the limit is read whole."""
        read = text[: limit + self._longest]
        for secret in self._secrets:
            read = read.replace(secret, HIDDEN)
        if len(text) > limit + self._longest:  # the last characters that were read may be a part of a secret
            read = read[: len(read) - self._longest] + CUT
        return cut(self.text(read[: limit + len(CUT)], limit + len(CUT)), limit)


def hide_secrets(secrets: Iterable[str]) -> Scrubber:
    """Makes `scrub_message` remove these secrets in this process. Returns the scrubber for logs and traces."""
    _Process.scrubber = Scrubber(secrets)
    return _Process.scrubber


def scrub_message(message: str, *, limit: int) -> str:
    """An error message without the secrets of this process, and at most `limit` characters long."""
    return _Process.scrubber.text(message, limit)


def cut(text: str, limit: int) -> str:
    """The text, or its beginning with `…` at the end if it is longer than `limit` characters."""
    return text if len(text) <= limit else text[: limit - len(CUT)] + CUT


def _with_repr(secrets: Iterable[str]) -> tuple[str, ...]:
    """The secrets, also in the form that they have inside a repr(); the longest first, as one may contain another."""
    long = [secret for secret in secrets if len(secret) >= MIN_SECRET_LENGTH]
    return tuple(sorted({*long, *(repr(secret)[1:-1] for secret in long)}, key=lambda secret: (-len(secret), secret)))


def _scrub_url(match: re.Match[str]) -> str:
    query = f"?{HIDDEN}" if match[2] else ""
    return f"://{match[1]}{query}"


@lru_cache(maxsize=1000)
def _is_secret_name(name: Any) -> bool:
    return isinstance(name, str) and (len(name) > MAX_NAME or SECRET_NAME.search(name) is not None)


class _Process:
    """The secrets of this process. Error messages are built everywhere, also where the settings are not at hand."""

    scrubber = Scrubber(())
