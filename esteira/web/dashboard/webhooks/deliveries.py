"""The list of deliveries, and the form of its filters."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from esteira.web.dashboard.attachments import links
from esteira.web.dashboard.filter_fields import choice_field
from esteira.web.dashboard.moments import IsolatedName, Moment, Phrase, joined, moment, pieces_of
from esteira.web.dashboard.parts import box, card, link, text
from esteira.web.dashboard.view import View
from esteira.web.dashboard.webhooks.query import PATH, UNFINISHED, DeliveryQuery
from esteira.web.dashboard.webhooks.redelivery import Redelivery
from pipeline.catalogue import DeliveryRecord, DeliveryStatus, EndpointStats
from pipeline.remedies.messages import translated
from pipeline.security.roles import Permission
from pipeline.services import services

COLUMNS = ("event", "to", "status", "created")
BADGES = {"pending": "received", "delivered": "done", "undelivered": "failed", "withdrawn": "expired"}


def show_form(view: View, query: DeliveryQuery, endpoints: Sequence[EndpointStats]) -> None:
    """A plain HTML form, so that the keyboard works and the address contains the query."""
    statuses = {str(status): view.t(f"webhooks.status.{status}") for status in DeliveryStatus}
    statuses = {"": view.t("webhooks.unfinished"), **statuses}
    names = {"": view.t("webhooks.any"), **{stats.endpoint: stats.endpoint for stats in endpoints}}
    with box("form", "filters card deliveries-form", method="get", action=PATH, role="search", data_submit="change"):
        with box("div", "choices log"):
            choice_field("endpoint", view.t("webhooks.endpoint"), names, chosen=query.endpoint)
            choice_field("status", view.t("webhooks.status"), statuses, chosen=query.status)
            text("button", view.t("media.apply"), "button primary", type="submit")
        if query.is_filtered:
            link(view.t("media.clear"), PATH)


def show(view: View, deliveries: Sequence[DeliveryRecord], redelivery: Redelivery) -> None:
    """Shows these deliveries, each with a button if the viewer may deliver it again."""
    controls = view.caller.may(Permission.SYSTEM_CONTROL)
    with card(view.t("webhooks.deliveries"), "table-card titled deliveries"), box("table", "table stacked"):
        with box("thead"), box("tr"):
            for name in COLUMNS:
                text("th", view.t(f"webhooks.{name}"), scope="col")
            if controls:
                text("th", view.t("webhooks.control"), scope="col")
        with box("tbody"):
            for delivery in deliveries:
                _row(view, delivery, redelivery if controls else None)


def _row(view: View, delivery: DeliveryRecord, redelivery: Redelivery | None) -> None:
    with box("tr"):
        with box("th", "event", scope="row"):
            link(delivery.type, links.page(delivery.media_id))
            Phrase(view, "span", (IsolatedName(delivery.session),), "hint")
        with box("td", data_label=view.t("webhooks.to")):
            Phrase(view, "span", (IsolatedName(delivery.endpoint),))
        with box("td", "stands", data_label=view.t("webhooks.status")), box("div"):
            text("span", view.t(f"webhooks.status.{delivery.status}"), f"badge {BADGES[delivery.status]}")
            _attempts(view, delivery)
        moment(view, "td", delivery.created_at, "created", data_label=view.t("webhooks.created"))
        if redelivery:
            with box("td", data_label=view.t("webhooks.control")):
                if delivery.status in UNFINISHED and delivery.endpoint in services().webhooks.endpoints:
                    label = view.t("webhooks.redeliver.of", type=delivery.type, endpoint=delivery.endpoint)
                    button = text("button", view.t("webhooks.redeliver"), "button small", type="button")
                    button.props["aria-label"] = label
                    button.on("click", partial(redelivery.ask_one, delivery))


def _attempts(view: View, delivery: DeliveryRecord) -> None:
    words = [view.t("item.attempts", count=view.number(delivery.attempts))] if delivery.attempts else []
    pieces = joined(words)
    if delivery.status is DeliveryStatus.PENDING and delivery.next_at is not None:
        pieces += (" · " if pieces else "", *pieces_of(view, "webhooks.next", at=Moment(delivery.next_at)))
    if pieces:
        Phrase(view, "span", pieces, "hint")
    if delivery.error and delivery.status in UNFINISHED:
        text("span", translated(delivery.error, view.language), "hint")
