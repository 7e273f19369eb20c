"""The page Failures: groups with their remedies, fixable ones first; groups or attachments can be replayed."""

from __future__ import annotations

from collections.abc import Sequence

from nicegui import ui
from starlette.concurrency import run_in_threadpool

from esteira.web.dashboard.attachments import links
from esteira.web.dashboard.bulk.progress import Progress
from esteira.web.dashboard.failures.group import GroupLine
from esteira.web.dashboard.failures.selection import Selection
from esteira.web.dashboard.parts import box, card, heading, link, text
from esteira.web.dashboard.shell import Page
from esteira.web.dashboard.view import View
from pipeline.catalogue import FailureGroup, parse_since
from pipeline.errors import PipelineError
from pipeline.remedies import is_fixable
from pipeline.services import services

PATH = "/dashboard/failures"
SINCES = ("1d", "1w", "")


async def build(view: View) -> None:
    """Builds the page for the period in the address: a day, a week or all."""
    requested = ui.context.client.request.query_params.get("since", SINCES[0])
    chosen = requested if requested in SINCES else SINCES[0]
    since = parse_since(chosen) if chosen else 0
    heading(view.t("failures.title"), view.t("failures.lead"))
    _times(view, chosen)
    progress = Progress(view)
    scope = view.caller.scope
    try:
        groups = await run_in_threadpool(lambda: services().catalogue.failures.find(since=since, scope=scope))
    except PipelineError:
        text("p", view.t("shell.away"), "notice", role="status")
        return
    if not groups:
        _nothing(view, chosen)
        return
    selection = Selection(view, since, progress)
    fixable = [group for group in groups if is_fixable(group.code)]
    others = [group for group in groups if not is_fixable(group.code)]
    for name, some in (("fixable", fixable), ("others", others)):
        if some:
            _section(view, name, some, selection, since=(chosen, since))
    selection.show_bar()


def _section(
    view: View, name: str, groups: Sequence[FailureGroup], selection: Selection, *, since: tuple[str, int]
) -> None:
    with card(view.t(f"failures.{name}"), "groups"):
        text("p", view.t(f"failures.{name}.lead"), "hint")
        for group in groups:
            GroupLine(view, group, selection, since=since)


def _nothing(view: View, chosen: str) -> None:
    with box("div", "empty", role="status"):
        text("p", view.t(f"failures.none.{chosen or 'all'}"))
        if chosen:
            link(view.t("failures.longer"), f"{PATH}?since={SINCES[SINCES.index(chosen) + 1]}")
        else:
            link(view.t("failures.media"), links.listing())


def _times(view: View, chosen: str) -> None:
    with box("nav", "tabs", aria_label=view.t("failures.since")):
        for since in SINCES:
            here = {"aria_current": "true"} if since == chosen else {}
            link(view.t(f"failures.since.{since or 'all'}"), f"{PATH}?since={since}", "button small", **here)


PAGE = Page(
    PATH,
    title="failures.title",
    icon="M12 4l9 16H3zM12 10v4M12 17h.01",
    build=build,
)
