"""Delivers webhooks again: one, or all that an endpoint was not given, after a question."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool

from actors.operations.audit import AuditEntry
from actors.webhooks.admin import redeliver, redeliverable_ids
from esteira.web.dashboard.dialogs import Dialog
from esteira.web.dashboard.faults import fault
from esteira.web.dashboard.parts import text
from esteira.web.dashboard.recorded import recorded
from esteira.web.dashboard.view import View
from pipeline.catalogue import Action, DeliveryFilters, DeliveryRecord, DeliveryStatus
from pipeline.errors import PipelineError
from pipeline.services import services

MAX_AT_ONCE = 1000


class Redelivery:
    """The dialog of the page and the result of the last redelivery. `refresh` is called after it."""

    def __init__(self, view: View, refresh: Callable[[], Any]) -> None:
        self._view, self._refresh = view, refresh
        self._said = text("p", "", "said-line", role="status")
        self._dialog = Dialog(view)
        with self._dialog.content:
            self._lead = text("p", "")
            self._dialog.buttons("webhooks.redeliver", self._confirmed, classes="primary", close="webhooks.leave")
        self._work: Callable[[AuditEntry], str] | None = None
        self._target: dict[str, Any] = {}

    def ask_one(self, delivery: DeliveryRecord) -> None:
        """Asks whether to deliver this one again."""
        self._target, self._work = {"ids": [delivery.id]}, lambda entry: self._redeliver([delivery.id], entry)
        self._ask(self._view.t("webhooks.one.title", endpoint=delivery.endpoint))

    def ask_all(self, endpoint: str, count: int) -> None:
        """Asks whether to deliver again what was given up for this endpoint."""
        filters = DeliveryFilters(endpoint=endpoint, status=DeliveryStatus.UNDELIVERED)
        self._target = filters.model_dump(mode="json", exclude_none=True)

        def work(entry: AuditEntry) -> str:
            return self._redeliver(redeliverable_ids(services(), filters, limit=MAX_AT_ONCE), entry)

        self._work = work
        number = self._view.number(min(count, MAX_AT_ONCE))
        self._ask(self._view.t("webhooks.all.title", endpoint=endpoint, count=number))

    def _ask(self, title: str) -> None:
        self._dialog.title.text = title
        self._lead.text = self._view.t("webhooks.ask.lead")
        self._dialog.open()

    async def _confirmed(self) -> None:
        self._dialog.close()
        work, self._work = self._work, None
        if work is None:
            return
        try:
            said = await run_in_threadpool(recorded, self._view, Action.REDELIVER, self._target, work)
        except PipelineError as error:
            self._say(self._view.t("shell.failed", reason=fault(self._view, error)), bad=True)
        else:
            self._say(said)
        await self._refresh()

    def _redeliver(self, ids: list[str], entry: AuditEntry) -> str:
        missed = redeliver(services(), ids)
        entry.count = len(ids) - len(missed)
        entry.note(missed=len(missed))
        view = self._view
        said = view.t("webhooks.redelivered", count=view.number(entry.count))
        return f"{said} {view.t('webhooks.missed', count=view.number(len(missed)))}" if missed else said

    def _say(self, words: str, *, bad: bool = False) -> None:
        self._said.text = words
        self._said.classes(replace="fault" if bad else "said-line notice")
