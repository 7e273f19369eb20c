"""`esteira failures`: unsuccessful attachments in groups, each with its remedy."""

from __future__ import annotations

from typing import Any

import rich_click as click

from esteira.cli.environment import catalogue_for_command
from esteira.cli.filters import Name, Since
from esteira.cli.output import age, examples, print_json, print_table, printable
from esteira.cli.table_layout import Column
from pipeline.catalogue import FailureGroup
from pipeline.remedies import LANGUAGES, remedy

COLUMNS = (
    Column("code", rank=0),
    Column("stage", rank=3),
    Column("count", rank=1),
    Column("sessions", rank=5, least=8),
    Column("newest", rank=4),
    Column("oldest", rank=6),
    Column("example", rank=2),
)


@click.command(epilog=examples("esteira failures --since 1d", "esteira failures --json | jq '.[0].count'"))
@click.option("--since", type=Since(), default=0, help="Only received since: `1d`, `1w` or an ISO date.")
@click.option("--session", type=Name(), metavar="NAME", help="Only this session.")
@click.option("--language", type=click.Choice(LANGUAGES), default="en", show_default=True, help="Of the remedies.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array of the groups.")
def failures(since: int, session: str | None, language: str, as_json: bool) -> None:
    """Shows failed, rejected and expired attachments, grouped by error code and stage, and what to do about them."""
    groups = catalogue_for_command().failures.find(since=since, session=session)
    if as_json:
        print_json([group.to_json(language=language) for group in groups])
        return
    print_table(COLUMNS, map(_row, groups), empty="No unsuccessful attachments match.")
    for code in dict.fromkeys(group.code for group in groups):
        if text := remedy(code, language=language):
            click.echo(f"\n{printable(code)}\n  {text.happened}\n  {text.to_do}")


def _row(group: FailureGroup) -> tuple[Any, ...]:
    times = (age(group.newest), age(group.oldest))
    return (group.code, group.stage, group.count, _sessions(group), *times, group.example.id)


def _sessions(group: FailureGroup) -> str:
    others = group.sessions - len(group.busiest)
    return ", ".join(group.busiest) + (f" and {others} more" if others else "")
