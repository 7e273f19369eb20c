"""`esteira webhooks`: undelivered events of each endpoint, and their redelivery."""

from __future__ import annotations

from typing import Any

import rich_click as click

from actors.operations.audit import AuditEntry
from actors.webhooks.admin import endpoints_json, newest_deliveries, redeliverable_ids
from actors.webhooks.admin import redeliver as redeliver_events
from esteira.cli.audited import audited
from esteira.cli.filters import Name, Since
from esteira.cli.ids import delivery_ids
from esteira.cli.output import age, confirm, examples, exit_with, local_time, print_json, print_message, print_table
from esteira.cli.services import services_for_command
from esteira.cli.table_layout import Column
from pipeline.catalogue import Action, DeliveryFilters, DeliveryRecord, DeliveryStatus
from pipeline.services import Services

NO_ENDPOINTS = "No webhook endpoints: set WEBHOOK_URL and WEBHOOK_SECRET, or WEBHOOK_ENDPOINTS."
WAITING = (DeliveryStatus.UNDELIVERED, DeliveryStatus.PENDING)
ENDPOINT_COLUMNS = (
    Column("endpoint", rank=0, least=16),
    Column("address", rank=5, least=12),
    Column("circuit", rank=1),
    Column("pending", rank=2),
    Column("oldest", rank=6),
    Column("undelivered", rank=3),
    Column("error", rank=4, least=12),
)
DELIVERY_COLUMNS = (
    Column("id", rank=0),
    Column("status", rank=1, least=6),
    Column("age", rank=3),
    Column("endpoint", rank=2, least=6),
    Column("type", rank=6),
    Column("session", rank=7, least=8),
    Column("media", rank=9),
    Column("attempts", rank=5),
    Column("next", rank=8),
    Column("error", rank=4, least=12),
)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples("esteira webhooks list", "esteira webhooks redeliver --endpoint crm --since 2d --dry-run"),
)
def webhooks() -> None:
    """Lists events that webhook endpoints have not received, and delivers them again."""


@webhooks.command(
    "list",
    epilog=examples(
        "esteira webhooks list",
        "esteira webhooks list --endpoint crm --status undelivered --since 2d",
        "esteira webhooks list --json | jq '.endpoints[] | select(.circuit.state == \"open\")'",
    ),
)
@click.option("--endpoint", type=Name(), metavar="NAME", help="Only this endpoint.")
@click.option("--session", type=Name(), metavar="NAME", help="Only this session.")
@click.option(
    "--status",
    multiple=True,
    type=click.Choice(list(map(str, DeliveryStatus))),
    help="Repeatable; default: pending and undelivered.",
)
@click.option("--since", type=Since(), help="Only created since: `2h`, `3d` or an ISO date.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Maximum of deliveries.")
@click.option("--json", "as_json", is_flag=True, help='Print `{"endpoints", "deliveries"}`.')
def list_(status: tuple[str, ...], limit: int, as_json: bool, **filters: Any) -> None:
    """Lists the endpoints, and the deliveries that are pending or were given up (`undelivered`).

    The circuit of an endpoint is open while its deliveries fail: then only one event at a time is tried, and the
    others wait.
    """
    services = services_for_command()
    statuses = tuple(map(DeliveryStatus, status)) or WAITING
    endpoints = endpoints_json(services)
    deliveries = newest_deliveries(
        services.catalogue.deliveries, DeliveryFilters(**filters), statuses=statuses, limit=limit
    )
    if as_json:
        print_json(
            {"endpoints": endpoints, "deliveries": [delivery.model_dump(mode="json") for delivery in deliveries]}
        )
        return
    print_table(ENDPOINT_COLUMNS, map(_endpoint_row, endpoints), empty=NO_ENDPOINTS)
    if endpoints and deliveries:
        click.echo()
    print_table(DELIVERY_COLUMNS, map(_delivery_row, deliveries), empty="No deliveries match.")


@webhooks.command(
    "redeliver",
    epilog=examples(
        "esteira webhooks redeliver ID",
        "esteira webhooks redeliver --endpoint crm --since 2d --dry-run",
        "esteira webhooks redeliver --endpoint crm --status pending --yes",
    ),
)
@click.argument("ids", nargs=-1, metavar="[ID…]")
@click.option("--endpoint", type=Name(), metavar="NAME", help="Only this endpoint.")
@click.option("--session", type=Name(), metavar="NAME", help="Only this session.")
@click.option(
    "--status",
    type=click.Choice(list(map(str, WAITING))),
    help="Default: undelivered; `pending` does not wait for the next scheduled attempt.",
)
@click.option("--since", type=Since(), help="Only created since: `2h`, `3d` or an ISO date.")
@click.option("--dry-run", is_flag=True, help="Only show how many would be delivered again.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@audited(Action.REDELIVER)
def redeliver(entry: AuditEntry, ids: tuple[str, ...], dry_run: bool, yes: bool, as_json: bool, **filters: Any) -> None:
    """Delivers events again at once, oldest first, with the full number of attempts and the same event IDs.

    Takes either IDs of deliveries or filters; without both, everything that was given up. Delivered events, and events
    of deleted attachments, are not kept and cannot be delivered again. The first characters of an ID are enough if no
    other ID begins with them.
    """
    if ids and any(filters.values()):
        raise click.UsageError("give either ids or filters")
    services = services_for_command()
    selected = delivery_ids(services.catalogue, ids) or redeliverable_ids(services, DeliveryFilters(**filters))
    if dry_run:
        _print({"matched": len(selected), "ids": selected}, f"{len(selected)} would be redelivered", as_json)
        return
    if selected and not (yes or ids):
        confirm(f"Redeliver {len(selected)} events?", consequence=f"{len(selected)} would be redelivered")
    entry.begin({"ids": selected if ids else (), **filters, "matched": len(selected)})
    missed = redeliver_events(services, selected)
    entry.count = len(selected) - len(missed)
    entry.note(missed=len(missed))
    for delivery_id in missed:
        print_message(f"{delivery_id}: {_why_missed(services, delivery_id)}")
    result = {"matched": len(selected), "redelivered": len(selected) - len(missed), "missed": missed}
    _print(result, f"{result['redelivered']} of {len(selected)} to be delivered now", as_json)
    exit_with(1 if missed else 0)


def _why_missed(services: Services, delivery_id: str) -> str:
    delivery = services.catalogue.deliveries.get(delivery_id)
    if delivery is None:
        return "unknown: there is no such delivery; `esteira webhooks list` shows them"
    if delivery.endpoint not in services.webhooks.endpoints:
        return f"its endpoint {delivery.endpoint} is not in the settings"
    reasons = {
        DeliveryStatus.DELIVERED: "is already delivered",
        DeliveryStatus.WITHDRAWN: "its attachment was deleted",
    }
    return reasons.get(delivery.status, "is being delivered right now")


def _print(result: dict[str, Any], text: str, as_json: bool) -> None:
    if as_json:
        print_json(result)
    else:
        click.echo(text)


def _endpoint_row(endpoint: dict[str, Any]) -> tuple[Any, ...]:
    circuit = endpoint["circuit"]
    address = endpoint["origin"] or "removed from the settings"
    oldest = f"{endpoint['oldest_pending_s']:.0f}s" if endpoint["pending"] else ""
    counts = (endpoint["pending"], oldest, endpoint["undelivered"])
    return endpoint["name"], address, circuit["state"], *counts, circuit["error"]


def _delivery_row(delivery: DeliveryRecord) -> tuple[Any, ...]:
    event = (delivery.endpoint, delivery.type, delivery.session, delivery.media_id)
    progress = (delivery.attempts, local_time(delivery.next_at), delivery.error)
    return delivery.id, delivery.status, age(delivery.created_at), *event, *progress
