"""`esteira webhooks`: how it stands with the receivers of webhooks, and what was given up goes once more."""

from __future__ import annotations

from typing import Any

import rich_click as click

from actors.webhooks.admin import endpoints_json, newest_deliveries, redeliverable_ids
from actors.webhooks.admin import redeliver as redeliver_these
from esteira.cli.environment import services_for_command
from esteira.cli.filters import Since
from esteira.cli.output import age, ask, examples, leave, moment, print_json, print_table, say
from pipeline.catalogue import DeliveryFilters, DeliveryRecord, DeliveryStatus

WAITING = (DeliveryStatus.UNDELIVERED, DeliveryStatus.PENDING)
ENDPOINTS = ("endpoint", "where", "circuit", "pending", "oldest", "undelivered", "error")
DELIVERIES = ("id", "status", "age", "endpoint", "type", "session", "media", "attempts", "next", "error")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def webhooks() -> None:
    """Shows what webhooks have still to tell, and redelivers what was given up."""


@webhooks.command(
    "list",
    epilog=examples(
        "esteira webhooks list",
        "esteira webhooks list --endpoint crm --status undelivered --since 2d",
        "esteira webhooks list --json | jq '.endpoints[] | select(.circuit.state == \"open\")'",
    ),
)
@click.option("--endpoint", metavar="NAME", help="Of this endpoint.")
@click.option("--session", metavar="NAME", help="Of this session.")
@click.option(
    "--status",
    multiple=True,
    type=click.Choice([str(one) for one in DeliveryStatus]),
    help="Repeatable; else pending and undelivered.",
)
@click.option("--since", type=Since(), help="Written down since: `2h`, `3d` or an ISO date.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Deliveries at most.")
@click.option("--json", "as_json", is_flag=True, help='Print `{"endpoints", "deliveries"}`.')
def list_(status: tuple[str, ...], limit: int, as_json: bool, **filters: Any) -> None:
    """Shows each endpoint and how it stands with it, and the deliveries that wait or were given up.

    The circuit is open while an endpoint fails: one event at a time is tried then, and the others wait.
    """
    tools = services_for_command()
    statuses = tuple(map(DeliveryStatus, status)) or WAITING
    endpoints = endpoints_json(tools)
    found = newest_deliveries(tools.catalogue.deliveries, DeliveryFilters(**filters), statuses=statuses, limit=limit)
    if as_json:
        print_json({"endpoints": endpoints, "deliveries": [one.model_dump(mode="json") for one in found]})
        return
    print_table(ENDPOINTS, map(_endpoint_row, endpoints))
    if found:
        click.echo()
        print_table(DELIVERIES, map(_delivery_row, found))


@webhooks.command(
    "redeliver",
    epilog=examples(
        "esteira webhooks redeliver ID",
        "esteira webhooks redeliver --endpoint crm --since 2d --dry-run",
        "esteira webhooks redeliver --endpoint crm --status pending --yes",
    ),
)
@click.argument("ids", nargs=-1, metavar="[ID…]")
@click.option("--endpoint", metavar="NAME", help="Of this endpoint.")
@click.option("--session", metavar="NAME", help="Of this session.")
@click.option(
    "--status",
    type=click.Choice([str(one) for one in WAITING]),
    help="Else undelivered; `pending` brings forward what waits for its next attempt.",
)
@click.option("--since", type=Since(), help="Written down since: `2h`, `3d` or an ISO date.")
@click.option("--dry-run", is_flag=True, help="Only show how many would go.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def redeliver(ids: tuple[str, ...], dry_run: bool, yes: bool, as_json: bool, **filters: Any) -> None:
    """Has deliveries made at once, the oldest first, with all attempts anew and the same event ids as before.

    Takes ids of deliveries, or filters; without either, everything that was given up. What was delivered, and what
    belongs to a deleted attachment, is not kept and cannot go again.
    """
    if ids and any(filters.values()):
        raise click.UsageError("give ids or filters, not both")
    tools = services_for_command()
    wanted = list(dict.fromkeys(ids)) or redeliverable_ids(tools, DeliveryFilters(**filters))
    if dry_run:
        _print({"matched": len(wanted), "ids": wanted}, f"{len(wanted)} would be redelivered", as_json)
        return
    if wanted and not (yes or ids):
        ask(f"Redeliver {len(wanted)}?", would=f"{len(wanted)} would be redelivered")
    missed = redeliver_these(tools, wanted)
    for one in missed:
        say(f"{one}: unknown, delivered, under way, of a deleted attachment or for an endpoint that is gone")
    outcome = {"matched": len(wanted), "redelivered": len(wanted) - len(missed), "missed": missed}
    _print(outcome, f"{outcome['redelivered']} of {len(wanted)} to be delivered now", as_json)
    leave(1 if missed else 0)


def _print(outcome: dict[str, Any], text: str, as_json: bool) -> None:
    if as_json:
        print_json(outcome)
    else:
        click.echo(text)


def _endpoint_row(told: dict[str, Any]) -> tuple[Any, ...]:
    circuit = told["circuit"]
    where = told["origin"] or "not in the settings"
    oldest = f"{told['oldest_pending_s']:.0f}s" if told["pending"] else ""
    return told["name"], where, circuit["state"], told["pending"], oldest, told["undelivered"], circuit["error"]


def _delivery_row(one: DeliveryRecord) -> tuple[Any, ...]:
    about = (one.id, one.status, age(one.created_at), one.endpoint, one.type, one.session, one.media_id)
    return *about, one.attempts, moment(one.next_at), one.error
