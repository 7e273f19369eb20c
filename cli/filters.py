"""The options that choose attachments, alike for every command that takes them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import rich_click as click

from pipeline.models import Kind, Stage, Status

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Since(click.ParamType[int]):
    """A moment as `2h`, `3d` (so long ago) or as an ISO date or time; becomes Unix milliseconds."""

    name = "AGE|DATE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        age = re.fullmatch(r"(\d{1,6})([smhdw])", value.strip())
        if age:
            ago = timedelta(**{UNITS[age[2]]: int(age[1])})
            return _milliseconds(time.time() - ago.total_seconds())
        try:
            return _milliseconds(datetime.fromisoformat(value.strip()).astimezone().timestamp())
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is neither an age such as 30m, 2h, 3d nor a date such as 2026-11-22", param, ctx)


def _milliseconds(seconds: float) -> int:
    """Unix milliseconds; what was before 1970 is 1970, for nothing was received by then."""
    return max(0, int(seconds * 1000))


def filter_options(*statuses: Status) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The options --status (one of `statuses`, repeatable) --session --error --stage --kind --since."""
    options = (
        click.option("--status", multiple=True, type=click.Choice([str(one) for one in statuses]), help="Repeatable."),
        click.option("--session", metavar="NAME", help="Of this session."),
        click.option("--error", metavar="CODE", help="Ended with this error code, such as `fetch_timeout`."),
        click.option("--stage", type=click.Choice([str(one) for one in Stage]), help="The stage where it stands."),
        click.option("--kind", type=click.Choice([str(one) for one in Kind]), help="Of this kind."),
        click.option("--since", type=Since(), help="Received since: `2h`, `3d` or an ISO date."),
    )

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate
