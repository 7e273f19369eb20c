"""Removes secrets from everything that goes to logs, Sentry and traces."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

HIDDEN = "[hidden]"
MIN_SECRET_LENGTH = 6  # characters; a shorter secret would hide parts of ordinary words
SECRET_NAME = re.compile(
    r"media[_-]?key|token|secret|password|authorization|api[_-]?key|signature|^(data|body|payload)$", re.I
)
# Both patterns consume what they match, so they take linear time on any text.
URL = re.compile(r"://(?:[^\s/?]*@)?([^\s?#\"']*)(\?[^\s\"']*)?")
HOOK = re.compile(r"(/hooks/[\w-]+[/?])[^\s\"']+")  # the last part of a gateway's webhook path may be its secret

NUMBER_OR_NONE = (int, float, type(None))

Scrub = Callable[[Any], Any]


def scrubber(secrets: Iterable[str]) -> Scrub:
    """A function that returns a copy of a text, list or mapping without secrets; other values stay as they are.

    It replaces the values of `secrets`, values under a name such as `token`, logins and queries in URLs, and the last
    part of a webhook path.
    """
    known = _with_repr(secrets)

    def scrub(value: Any) -> Any:
        if isinstance(value, str):
            return _scrub_text(value, known)
        if isinstance(value, NUMBER_OR_NONE):
            return value
        if isinstance(value, Mapping):
            return {key: HIDDEN if _is_secret_name(key) and item else scrub(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [scrub(item) for item in value]
        return value

    return scrub


def _scrub_text(text: str, secrets: tuple[str, ...]) -> str:
    if "://" in text:
        text = URL.sub(_scrub_url, text)
    if "/hooks/" in text:
        text = HOOK.sub(rf"\1{HIDDEN}", text)
    for secret in secrets:
        if secret in text:
            text = text.replace(secret, HIDDEN)
    return text


def _with_repr(secrets: Iterable[str]) -> tuple[str, ...]:
    """The secrets, also in the form that they have inside a repr()."""
    long = [secret for secret in secrets if len(secret) >= MIN_SECRET_LENGTH]
    return tuple(dict.fromkeys([*long, *(repr(secret)[1:-1] for secret in long)]))


def _scrub_url(match: re.Match[str]) -> str:
    query = f"?{HIDDEN}" if match[2] else ""
    return f"://{match[1]}{query}"


@lru_cache(maxsize=1000)
def _is_secret_name(name: Any) -> bool:
    return isinstance(name, str) and SECRET_NAME.search(name) is not None
