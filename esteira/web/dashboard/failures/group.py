"""One group of failures, a code at a stage: a line that opens to its remedy, its figures and its attachments."""

from __future__ import annotations

from collections.abc import Sequence

from nicegui.elements.mixins.text_element import TextElement
from starlette.concurrency import run_in_threadpool

from esteira.web.dashboard.attachments import links, parts
from esteira.web.dashboard.failures.selection import Selection
from esteira.web.dashboard.moments import IsolatedName, Moment, Phrase, joined, pieces_of
from esteira.web.dashboard.parts import box, link, text
from esteira.web.dashboard.view import View
from pipeline.catalogue import FailureGroup, Filters
from pipeline.errors import PipelineError
from pipeline.models import Record, Stage
from pipeline.remedies import Remedy, remedy
from pipeline.remedies.messages import translated
from pipeline.security.scopes import Scope
from pipeline.services import services

MAX_SHOWN = 20  # attachments shown of an expanded group
UNSUCCESSFUL = ("failed", "rejected", "expired")


class GroupLine:
    """The line of one group. Its attachments are read when it is opened."""

    def __init__(self, view: View, group: FailureGroup, selection: Selection, *, since: tuple[str, int]) -> None:
        self._view, self._group, self._selection = view, group, selection
        self._since_text, self._since = since
        self._opened = False
        words = remedy(group.code, language=view.language)
        with box("section", "group") as section:
            tick = _tick(view.t("failures.select", code=group.code, stage=view.t(f"now.stage.{group.stage}")))
            selection.watch_group(tick, group.code, group.stage)
            with box("details", "more") as details:
                self._summary(words)
                with box("div", "group-body"):
                    self._fill(words)
            self._count()
        section.props["aria-labelledby"] = self._title.html_id
        details.on("toggle", self._open)

    def _summary(self, words: Remedy | None) -> None:
        view, group = self._view, self._group
        with box("summary"):
            self._title = text("code", group.code)
            text("span", view.t(f"now.stage.{group.stage}"), "badge")
            Phrase(view, "span", pieces_of(view, "failures.newest.at", at=Moment(group.newest)), "hint")
            if words:
                text("span", words.happened, "happened")

    def _count(self) -> None:
        group = self._group
        number = self._view.number(group.count)
        path = links.listing(error=group.code, stage=group.stage, since=self._since_text)
        link(number, path, "count figure", aria_label=self._view.t("failures.all", count=number))

    def _fill(self, words: Remedy | None) -> None:
        view, group = self._view, self._group
        if words:
            text("p", words.to_do, "to-do")
        with box("dl", "facts"):
            for name, value in (
                ("newest", Moment(group.newest)),
                ("oldest", Moment(group.oldest)),
                ("sessions", _sessions(view, group)),
                ("example", translated(group.example.error or "", view.language)),
            ):
                with box("div"):
                    text("dt", view.t(f"failures.{name}"))
                    Phrase(view, "dd", (value,))
        self._list = box("div")

    async def _open(self) -> None:
        if self._opened:
            return
        self._opened = True
        group = self._group
        filters = [
            Filters(status=status, error=group.code, stage=Stage(group.stage), since=self._since)
            for status in UNSUCCESSFUL
        ]
        try:
            records = await run_in_threadpool(_newest, filters, self._view.caller.scope)
        except PipelineError:
            self._opened = False
            return
        with self._list, box("ul", "singles"):
            for record in records:
                self._one(record)
        if group.count > len(records):
            with self._list:
                path = links.listing(error=group.code, stage=group.stage, since=self._since_text)
                link(self._view.t("failures.all", count=self._view.number(group.count)), path)

    def _one(self, record: Record) -> None:
        view, name = self._view, parts.name_of(record)
        with box("li"):
            self._selection.watch_one(_tick(view.t("bulk.select.one", name=name)), record.id)
            with box("div"):
                link(name, links.page(record.id))
                Phrase(view, "span", joined((IsolatedName(record.session), Moment(record.received_at))), "hint")
                text("span", translated(record.error or "", view.language), "hint")


def _tick(label: str) -> TextElement:
    return text("input", "", "tick", type="checkbox", aria_label=label)


def _newest(chosen: Sequence[Filters], scope: Scope) -> list[Record]:
    catalogue = services().catalogue
    records = [record for filters in chosen for record in catalogue.find(filters, limit=MAX_SHOWN, scope=scope)]
    return sorted(records, key=lambda record: (record.received_at, record.id), reverse=True)[:MAX_SHOWN]


def _sessions(view: View, group: FailureGroup) -> str:
    others = group.sessions - len(group.busiest)
    names = ", ".join(group.busiest)
    return view.t("failures.sessions.more", names=names, count=view.number(others)) if others else names
