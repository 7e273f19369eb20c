"""The page Webhooks: endpoints with their circuit, deliveries that are pending or were given up, redelivery."""

from __future__ import annotations

from collections.abc import Sequence

from nicegui import ui
from starlette.concurrency import run_in_threadpool

from actors.operations.audit_text import describe
from esteira.web.dashboard.moments import IsolatedName, Moment, Phrase, joined, marked, unmarked
from esteira.web.dashboard.paging import page_links
from esteira.web.dashboard.parts import box, card, copyable, heading, link, text
from esteira.web.dashboard.shell import Page
from esteira.web.dashboard.view import View
from esteira.web.dashboard.webhooks import deliveries, endpoints
from esteira.web.dashboard.webhooks.query import PATH, DeliveryQuery, Found
from esteira.web.dashboard.webhooks.redelivery import Redelivery
from pipeline.catalogue import AuditRecord
from pipeline.errors import PayloadError, PipelineError
from pipeline.security.roles import Permission

REFRESH_S = 3.0
SETTINGS = """echo "WEBHOOK_URL=https://crm.example/esteira" >> .env
echo "WEBHOOK_SECRET=whsec_$(openssl rand -base64 32)" >> .env"""


async def build(view: View) -> None:
    """Builds the page for the query in the address, and keeps it updated while it is open."""
    heading(view.t("webhooks.title"), view.t("webhooks.lead"))
    query = DeliveryQuery.of(ui.context.client.request.query_params)
    board = _Board(view, query)
    try:
        board.show(await run_in_threadpool(board.load))
    except PayloadError as error:
        text("p", view.t("media.wrong", reason=error.message), "fault", role="alert")
        return
    except PipelineError:
        text("p", view.t("shell.away"), "notice", role="status")
    ui.timer(REFRESH_S, board.refresh, immediate=False)


class _Board:
    """The elements of one open page. They are rebuilt when what they show has changed."""

    def __init__(self, view: View, query: DeliveryQuery) -> None:
        self._view, self._query = view, query
        self._shown: Found | None = None
        self._redelivery = Redelivery(view, self.refresh)
        self._content = box("div", "stack")

    def load(self) -> Found:
        """Reads what the page shows. It blocks, and raises as `DeliveryQuery.load` does."""
        return self._query.load(with_audit=self._view.caller.may(Permission.AUDIT))

    async def refresh(self) -> None:
        """Updates the page; while the catalogue is away it keeps its content."""
        try:
            found = await run_in_threadpool(self.load)
        except PipelineError:
            return
        self.show(found)

    def show(self, found: Found) -> None:
        """Rebuilds the page if it would look different."""
        if self._shown and _comparable(found) == _comparable(self._shown):
            return
        self._shown = found
        self._content.clear()
        with self._content:
            self._fill(found)

    def _fill(self, found: Found) -> None:
        view, query = self._view, self._query
        if not found.endpoints and not found.deliveries and not query.is_filtered:
            with box("section", "card empty"):
                text("p", view.t("webhooks.none"))
                copyable(SETTINGS, view.t("item.copy"), view.t("item.copied"))
            return
        endpoints.show(view, found.endpoints, self._redelivery)
        deliveries.show_form(view, query, found.endpoints)
        if found.deliveries:
            deliveries.show(view, found.deliveries, self._redelivery)
        else:
            with box("div", "empty", role="status"):
                text("p", view.t("media.none" if query.is_filtered else "webhooks.nothing"))
                if query.is_filtered:
                    link(view.t("media.clear"), PATH)
        newest = query.path() if query.after else None
        page_links(view, view.t("webhooks.deliveries"), newest=newest, older=found.older)
        if found.redeliveries:
            _audit(view, found.redeliveries)


def _comparable(found: Found) -> Found:
    """Without the ages, which change with every reading."""
    return found._replace(endpoints=[stats._replace(oldest_s=stats.oldest_s // 10) for stats in found.endpoints])


def _audit(view: View, entries: Sequence[AuditRecord]) -> None:
    with card(view.t("webhooks.audit")):
        with box("ul", "log-lines"):
            for entry in entries:
                words = view.t("webhooks.audit.count", count=view.number(entry.count))
                target = unmarked(describe(entry.target, marked))
                line = joined(
                    (Moment(entry.at), IsolatedName(entry.who), view.t(f"audit.outcome.{entry.outcome}"), words)
                )
                Phrase(view, "li", (*line, " · ", *target), "hint")
        link(view.t("webhooks.audit.all"), "/dashboard/audit?action=redeliver")


PAGE = Page(
    PATH,
    title="webhooks.title",
    icon="M9 7a3 3 0 1 1 4.6 2.5L10 16M7 13a3 3 0 1 0 3 4h8M17 13a3 3 0 1 1-2 5.2M13.5 9.5l3 5",
    build=build,
    permission=Permission.SYSTEM,
)
