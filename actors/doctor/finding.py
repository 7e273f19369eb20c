"""The result of a check."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Level(StrEnum):
    """How serious a finding is.

    `fail`: attachments would be lost, or nothing works. `warn`: one more fault may cost something, or work is slower or
    less isolated than it could be.
    """

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(NamedTuple):
    """The result of one check. `remedy` is empty if there is nothing to do. Neither text contains a secret."""

    check: str
    level: Level
    message: str
    remedy: str = ""


def ok(check: str, message: str) -> Finding:
    return Finding(check, Level.OK, message)


def warn(check: str, message: str, remedy: str) -> Finding:
    return Finding(check, Level.WARN, message, remedy)


def fail(check: str, message: str, remedy: str) -> Finding:
    return Finding(check, Level.FAIL, message, remedy)
