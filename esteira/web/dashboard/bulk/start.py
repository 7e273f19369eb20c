"""Starts a bulk action for a viewer: permitted, recorded, one at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool

from esteira.web.dashboard.bulk.actions import BulkAction
from esteira.web.dashboard.bulk.run import BULK_RUNS, RATES, BulkRun
from esteira.web.dashboard.bulk.selections import BulkSelection
from esteira.web.dashboard.faults import fault
from esteira.web.dashboard.parts import box, text
from esteira.web.dashboard.recorded import begin, entry_of
from esteira.web.dashboard.view import View
from pipeline.errors import Code, PipelineError, RetryableError

VALUE = "(event) => emit(event.target.value)"


async def start(view: View, action: BulkAction, selection: BulkSelection, *, total: int, rate: int) -> str | None:
    """Starts the action; returns why it has not started, in words, or None."""
    entry = entry_of(view, action.action)
    target: Mapping[str, Any] = {**selection.audit_target(), "matched": total}
    try:
        await run_in_threadpool(begin, view, entry, target)
    except PipelineError as error:
        return view.t("shell.failed", reason=fault(view, error))
    if not BULK_RUNS.start(BulkRun(action, selection, total, rate, entry)):
        await run_in_threadpool(entry.complete, RetryableError(Code.TOO_MANY_REQUESTS, "another one is running"))
        return view.t("bulk.busy")
    return None


class RateChoice:
    """The choice of the rate: `value` attachments a second."""

    def __init__(self, view: View, html_id: str) -> None:
        self.value = RATES[1]
        text("label", view.t("bulk.rate"), "hint", for_=html_id)
        with box("select", "", id=html_id) as rates:
            for rate in RATES:
                option = text("option", view.t("bulk.per_second", count=rate), value=rate)
                if rate == self.value:
                    option.props["^selected"] = "selected"
        rates.on("change", lambda event: self._set(str(event.args)), js_handler=VALUE)

    def _set(self, value: str) -> None:
        self.value = next((rate for rate in RATES if str(rate) == value), self.value)
