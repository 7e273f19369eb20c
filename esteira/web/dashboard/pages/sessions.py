"""The page Sessions: waiting, running and failed attachments by session."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import redis
from starlette.concurrency import run_in_threadpool

from actors.hook import hook
from actors.operations.pause import pauses
from esteira.web.auth.session_control import owns_session
from esteira.web.dashboard.attachments import links
from esteira.web.dashboard.moments import IsolatedName, Moment, Phrase, moment, pieces_of
from esteira.web.dashboard.parts import box, card, heading, link, text
from esteira.web.dashboard.pauses.buttons import PauseButton
from esteira.web.dashboard.pauses.dialog import PauseDialog
from esteira.web.dashboard.shell import Page
from esteira.web.dashboard.view import View
from pipeline.catalogue import Pause
from pipeline.errors import PipelineError
from pipeline.models import Status
from pipeline.security.callers import Caller
from pipeline.security.roles import Permission

MAX_SESSIONS = 100
DAY_MS = 24 * 3600 * 1000


@dataclass(frozen=True)
class SessionRow:
    """Waiting and running messages of a session, failures received within a day, last arrival in Unix ms.

    `gateways` are those that have handed over an attachment of a session with this name.
    """

    name: str
    gateways: Sequence[str] = ()
    ready: int = 0
    running: int = 0
    failed: int = 0
    received_at: int | None = None
    paused: Pause | None = None


async def build(view: View) -> None:
    """Builds the table as of the moment when the page is opened."""
    heading(view.t("sessions.title"), view.t("sessions.lead", most=MAX_SESSIONS))
    rows, complete = await run_in_threadpool(sessions, view.caller)
    if not complete:
        text("p", view.t("shell.away"), "notice", role="status")
    if not rows:
        with box("div", "empty", role="status"):
            text("p", view.t("sessions.none"))
            link(view.t("sessions.first"), links.MEDIA)
        return
    dialog = PauseDialog(view)
    with card(view.t("sessions.title"), "table-card sessions"), box("table", "table stacked compact"):
        _head(view)
        with box("tbody"):
            for row in rows:
                _row(view, row, dialog)


def sessions(caller: Caller) -> tuple[list[SessionRow], bool]:
    """At most 100 sessions, and whether Redis and catalogue answered.

    The figures are those of a name, of all gateways together. So a caller that is limited to some sessions sees a name
    only if all sessions with it are in its scope. Paused sessions come first, then those with most waiting, running
    and failed attachments, then the newest.
    """
    waiting, complete = _waiting(), True
    failed: dict[str, int] = {}
    received: dict[str, int] = {}
    gateways: dict[str, list[str]] = {}
    paused: dict[str, Pause] = {}
    names = list(waiting or {})
    try:
        statistics = hook().services.catalogue.statistics
        paused = {pause.name: pause for pause in pauses() if pause.kind == "session"}
        failed = statistics.failed_by_session(int(time.time() * 1000) - DAY_MS, limit=MAX_SESSIONS)
        names = list(
            dict.fromkeys(
                [
                    *names,
                    *sorted(paused)[:MAX_SESSIONS],
                    *failed,
                    *sorted(statistics.recent_sessions(limit=MAX_SESSIONS)),
                ]
            )
        )
        names = [name for name in names if owns_session(caller, name)]
        received = statistics.last_received(names)
        gateways = hook().services.catalogue.sessions.gateways_of_each(names)
    except PipelineError:
        complete, names = False, names if caller.scope.is_all else []
    rows = [
        SessionRow(
            name,
            gateways.get(name, ()),
            **(waiting or {}).get(name, {}),
            failed=failed.get(name, 0),
            received_at=received.get(name),
            paused=paused.get(name),
        )
        for name in names
    ]
    rows.sort(
        key=lambda row: (not row.paused, -row.ready, -row.running, -row.failed, -(row.received_at or 0), row.name)
    )
    return rows[:MAX_SESSIONS], complete and waiting is not None


def _waiting() -> dict[str, dict[str, int]] | None:
    listener_hook = hook()
    if listener_hook.breaker.is_open:
        return None
    try:
        return listener_hook.queue.stats.sessions(MAX_SESSIONS)
    except (redis.RedisError, OSError):
        return None


def _head(view: View) -> None:
    with box("thead"), box("tr"):
        text("th", view.t("sessions.name"), scope="col")
        for name in ("ready", "running", "failed"):
            text("th", view.t(f"sessions.{name}"), "number", scope="col")
        text("th", view.t("sessions.received"), scope="col")
        text("th", view.t("sessions.media"), scope="col")
        if view.caller.may(Permission.PAUSE):
            text("th", view.t("sessions.control"), scope="col")


def _row(view: View, row: SessionRow, dialog: PauseDialog) -> None:
    with box("tr"):
        with box("th", "session-name", scope="row"):
            Phrase(view, "span", (IsolatedName(row.name),))
            if row.gateways:
                text("div", ", ".join(row.gateways), "hint")
            badge = _PausedBadge(view, row.paused)
        for name in ("ready", "running", "failed"):
            _count(view, row, name)
        with box("td", data_label=view.t("sessions.received")):
            moment(view, "span", row.received_at) if row.received_at is not None else text("span", "–")
        with box("td", data_label=view.t("sessions.media")):
            path = links.listing(session=row.name)
            link(view.t("sessions.show"), path, aria_label=view.t("sessions.show.of", session=row.name))
        if view.caller.may(Permission.PAUSE):
            with box("td", data_label=view.t("sessions.control")):
                button = PauseButton(view, "session", row.name, dialog)
                button.changed = badge.show
                button.show(row.paused is not None)


class _PausedBadge:
    """Since when a session is paused; hidden while it is not."""

    def __init__(self, view: View, pause: Pause | None) -> None:
        self._view = view
        self._badge = Phrase(view, "div", (), "badge expired")
        self.show(pause is not None, since=pause.since if pause else None)

    def show(self, paused: bool, *, since: int | None = None) -> None:
        """Shows or hides the badge. Without `since` the pause has just begun."""
        self._badge.set_visibility(paused)
        if paused:
            at = Moment(since if since is not None else int(time.time() * 1000))
            self._badge.show(pieces_of(self._view, "sessions.paused", since=at))


def _count(view: View, row: SessionRow, name: str) -> None:
    n = getattr(row, name)
    label = view.t(f"sessions.{name}")
    failed = name == "failed"
    filters = {"status": Status.FAILED, "since": "1d"} if failed else {"status": Status.RECEIVED}
    with box("td", "number bad" if failed and n else "number", data_label=label):
        if n:
            path = links.listing(session=row.name, **filters)
            link(view.number(n), path, "figure", aria_label=f"{label}, {row.name}: {view.number(n)}")
        else:
            text("span", "0")


PAGE = Page(
    "/dashboard/sessions",
    title="sessions.title",
    icon="M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7M2.5 20c.5-3.5 3-5.5 6.5-5.5s6 2 6.5 5.5M16 4.5a3.5 3.5 0 0 1 0 6.5"
    "M18 14.8c2 .7 3.2 2.6 3.5 5.2",
    build=build,
)
