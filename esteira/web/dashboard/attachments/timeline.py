"""The timeline of an attachment: its attempts at each of the five stages."""

from __future__ import annotations

from collections.abc import Sequence

from esteira.web.dashboard.moments import Moment, Phrase, Piece, joined
from esteira.web.dashboard.parts import box, text
from esteira.web.dashboard.view import View
from pipeline.history import HistoryEntry, HistoryOutcome
from pipeline.models import Record, Stage, Status
from pipeline.remedies.messages import translated

STAGES = tuple(Stage)
CURRENT = {"running", "bad"}


def show(view: View, record: Record, history: Sequence[HistoryEntry]) -> None:
    """Shows the stages of the current run with their attempts, and earlier runs below."""
    with box("ol", "way"):
        for stage in STAGES:
            _stage(
                view, record, stage, [entry for entry in history if entry.run == record.run and entry.stage == stage]
            )
    if earlier := [entry for entry in history if entry.run < record.run]:
        with box("details", "more"):
            text("summary", view.t("item.earlier"))
            with box("ul", "attempts"):
                for entry in earlier:
                    _entry(view, entry, named=True)


def state_of(record: Record, stage: Stage) -> str:
    """The state of a stage: `passed`, `running`, `bad` or `ahead`."""
    current, index = STAGES.index(record.stage), STAGES.index(stage)
    announced = stage is Stage.NOTIFY and record.announced_at is not None
    if record.status in {Status.DONE, Status.DELETED} or index < current or announced:
        return "passed"
    if index > current:
        return "ahead"
    return "running" if record.status in {Status.RECEIVED, Status.STORED} else "bad"


def _stage(view: View, record: Record, stage: Stage, entries: Sequence[HistoryEntry]) -> None:
    state = state_of(record, stage)
    with box("li", state, **({"aria_current": "step"} if state in CURRENT else {})):
        text("strong", view.t(f"now.stage.{stage}"))
        if not entries or state != "passed":
            text("span", view.t(f"item.stage.{state}"), "hint")
        if entries:
            with box("ul", "attempts"):
                for entry in entries:
                    _entry(view, entry)
        elif stage is record.stage and state in CURRENT:
            _without_history(view, record)


def _without_history(view: View, record: Record) -> None:
    """Shows the row's own attempts and error, for attachments without history entries."""
    if record.attempts:
        text("span", view.t("item.attempts", count=view.number(record.attempts)), "hint")
    if record.error:
        text("span", translated(record.error, view.language), "said")


def _entry(view: View, entry: HistoryEntry, *, named: bool = False) -> None:
    bad = entry.outcome not in {HistoryOutcome.DONE, HistoryOutcome.WAITS, HistoryOutcome.REPLAYED}
    with box("li", "bad-attempt" if bad else ""):
        Phrase(view, "span", joined(_words(view, entry, named=named)), "hint")
        if entry.message or entry.code:
            message = translated(entry.message or "", view.language)
            text("span", ": ".join(filter(None, (entry.code, message))), "said")


def _words(view: View, entry: HistoryEntry, *, named: bool) -> Sequence[Piece | None]:
    known = entry.stage in set(Stage)
    return (
        view.t(f"now.stage.{entry.stage}") if named and known else None,
        view.t("item.attempt", number=view.number(entry.attempt)) if entry.attempt > 1 or entry.code else None,
        view.t(f"item.outcome.{entry.outcome}"),
        view.span(entry.ms / 1000) if entry.ms is not None else None,
        Moment(entry.at, "full" if named else "time"),
        entry.worker,
    )
