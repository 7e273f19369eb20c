"""The options that select attachments, the same for every command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import rich_click as click

from pipeline.catalogue import parse_since
from pipeline.models import Kind, Stage, Status


class Since(click.ParamType[int]):
    """An age (`2h`, `3d`) or an ISO date or time, converted to Unix milliseconds."""

    name = "AGE|DATE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return parse_since(value)
        except ValueError as error:
            self.fail(f"{value!r} {error}", param, ctx)


class Name(click.ParamType[str]):
    """A text that is not empty: an empty filter, perhaps of an unset variable, would select everything."""

    name = "NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not str(value).strip():
            self.fail("is empty: give a value, or leave the option out", param, ctx)
        return str(value)


def filter_options(*statuses: Status) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds the options --status (one of `statuses`, repeatable) --session --error --stage --kind --since."""
    options = (
        click.option("--status", multiple=True, type=click.Choice(list(map(str, statuses))), help="Repeatable."),
        click.option("--session", type=Name(), metavar="NAME", help="Only this session."),
        click.option(
            "--error", type=Name(), metavar="CODE", help="Only with this error code, such as `fetch_timeout`."
        ),
        click.option("--stage", type=click.Choice(list(map(str, Stage))), help="Only at this stage."),
        click.option("--kind", type=click.Choice(list(map(str, Kind))), help="Only of this kind."),
        click.option("--since", type=Since(), help="Only received since: `2h`, `3d` or an ISO date."),
    )

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate
