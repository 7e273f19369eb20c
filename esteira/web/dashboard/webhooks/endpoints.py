"""The table of endpoints: their circuit, what is pending, and what was given up."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from esteira.web.dashboard.moments import IsolatedName, Moment, Phrase, Piece, pieces_of
from esteira.web.dashboard.parts import box, card, link, text
from esteira.web.dashboard.view import View
from esteira.web.dashboard.webhooks.query import listing
from esteira.web.dashboard.webhooks.redelivery import Redelivery
from pipeline.catalogue import DeliveryStatus, EndpointStats
from pipeline.remedies.messages import translated
from pipeline.security.roles import Permission
from pipeline.services import services

COLUMNS = ("endpoint", "circuit", "pending", "undelivered", "oldest")


def show(view: View, endpoints: Sequence[EndpointStats], redelivery: Redelivery) -> None:
    """Shows these endpoints, also those that are no longer in the settings and have deliveries left."""
    controls = view.caller.may(Permission.SYSTEM_CONTROL)
    with card(view.t("webhooks.endpoints"), "table-card titled endpoints"), box("table", "table stacked"):
        with box("thead"), box("tr"):
            for name in COLUMNS:
                numeric = name in {"pending", "undelivered"}
                text("th", view.t(f"webhooks.{name}"), "number" if numeric else "", scope="col")
            if controls:
                text("th", view.t("webhooks.control"), scope="col")
        with box("tbody"):
            for stats in endpoints:
                _row(view, stats, redelivery if controls else None)


def _row(view: View, stats: EndpointStats, redelivery: Redelivery | None) -> None:
    endpoint = services().webhooks.endpoints.get(stats.endpoint)
    with box("tr"):
        with box("th", "endpoint", scope="row"):
            Phrase(view, "span", (IsolatedName(stats.endpoint),))
            text("span", endpoint.origin if endpoint else view.t("webhooks.removed"), "hint")
            if endpoint:
                _filters(view, [*sorted(endpoint.settings.types), *endpoint.settings.sessions])
        _circuit(view, stats)
        _count(view, stats, DeliveryStatus.PENDING, stats.pending)
        _count(view, stats, DeliveryStatus.UNDELIVERED, stats.undelivered)
        oldest = view.span(stats.oldest_s) if stats.pending else "–"
        text("td", oldest, data_label=view.t("webhooks.oldest"))
        if redelivery:
            with box("td", data_label=view.t("webhooks.control")):
                if stats.undelivered and endpoint:
                    label = view.t("webhooks.redeliver.all.of", endpoint=stats.endpoint)
                    button = text("button", view.t("webhooks.redeliver.all"), "button small", type="button")
                    button.props["aria-label"] = label
                    button.on("click", partial(redelivery.ask_all, stats.endpoint, stats.undelivered))


def _filters(view: View, filters: Sequence[str]) -> None:
    text("span", view.t("webhooks.only", filters=", ".join(filters)) if filters else view.t("webhooks.every"), "hint")


def _circuit(view: View, stats: EndpointStats) -> None:
    circuit = stats.circuit
    with box("td", "circuit", data_label=view.t("webhooks.circuit")), box("div"):
        text("span", view.t(f"webhooks.circuit.{_state(stats)}"), f"badge {'failed' if circuit.open else 'done'}")
        if circuit.failures and circuit.failing_since is not None:
            Phrase(view, "span", _since(view, stats), "hint")
            if circuit.error:
                text("span", translated(circuit.error, view.language), "hint")


def _state(stats: EndpointStats) -> str:
    if stats.circuit.open:
        return "open"
    return "failing" if stats.circuit.failures else "closed"


def _since(view: View, stats: EndpointStats) -> tuple[Piece, ...]:
    circuit = stats.circuit
    words = pieces_of(
        view, "webhooks.failing", count=view.number(circuit.failures), since=Moment(circuit.failing_since or 0)
    )
    if circuit.open and circuit.probe_at:
        words += (" ", *pieces_of(view, "webhooks.probe", at=Moment(circuit.probe_at, "time")))
    return words


def _count(view: View, stats: EndpointStats, status: DeliveryStatus, count: int) -> None:
    label = view.t(f"webhooks.{status}")
    bad = status is DeliveryStatus.UNDELIVERED and count
    with box("td", "number bad" if bad else "number", data_label=label):
        if count:
            path = listing(endpoint=stats.endpoint, status=status)
            link(view.number(count), path, "figure", aria_label=f"{label}, {stats.endpoint}: {view.number(count)}")
        else:
            text("span", "0")
