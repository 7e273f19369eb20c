"""The options that choose attachments, alike for every command that takes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import rich_click as click

from pipeline.catalogue import parse_since
from pipeline.models import Kind, Stage, Status


class Since(click.ParamType[int]):
    """A moment as `2h`, `3d` (so long ago) or as an ISO date or time; becomes Unix milliseconds."""

    name = "AGE|DATE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return parse_since(value)
        except ValueError as error:
            self.fail(f"{value!r} {error}", param, ctx)


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
