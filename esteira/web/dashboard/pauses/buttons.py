"""Buttons that pause and resume. Their actions run over the page's WebSocket, which requires the login."""

from __future__ import annotations

from collections.abc import Callable

import redis
from nicegui import ui
from starlette.concurrency import run_in_threadpool

from actors.operations.audit import AuditEntry
from actors.operations.pause import pause, resume
from esteira.web.auth.session_control import require_control
from esteira.web.dashboard.faults import fault
from esteira.web.dashboard.parts import text
from esteira.web.dashboard.pauses.dialog import PauseDialog
from esteira.web.dashboard.pauses.feed import PAUSE_FEED
from esteira.web.dashboard.pauses.words import title_of
from esteira.web.dashboard.recorded import recorded
from esteira.web.dashboard.status_poller import STATUS_POLLER
from esteira.web.dashboard.view import View
from pipeline.catalogue import Action, PauseKind
from pipeline.errors import PipelineError
from pipeline.security.roles import Permission


async def perform(view: View, action: Callable[[], object]) -> bool:
    """Runs an action off the event loop. Returns whether it succeeded; an error is shown on the page."""
    try:
        await run_in_threadpool(action)
    except (PipelineError, redis.RedisError, OSError) as error:
        ui.notify(view.t("shell.failed", reason=fault(view, error)), type="negative")
        return False
    return True


async def change(view: View, kind: PauseKind, name: str, action: Action, *, reason: str | None = None) -> bool:
    """Pauses or resumes a stage or a session for this viewer; all open pages are updated. False if it failed."""

    def work(entry: AuditEntry) -> None:
        require_control(view.caller, kind, name)
        if action is Action.RESUME:
            entry.count = resume(kind, name)
        else:
            entry.count = pause(kind, name, paused_by=view.caller.name, reason=reason)
            entry.note(reason=reason)

    done = await perform(view, lambda: recorded(view, action, {kind: name}, work))
    if done:
        await PAUSE_FEED.changed()
        await STATUS_POLLER.refresh()
    return done


def may_control(view: View, kind: str) -> bool:
    """Whether the viewer's role has buttons for this kind of pause; each action checks the scope too."""
    return view.caller.may(Permission.SYSTEM_CONTROL if kind == "stage" else Permission.PAUSE)


class PauseButton:
    """Pauses a stage or a session after a question, or resumes it. It counts as running until `show(True)`."""

    changed: Callable[[bool], object] | None = None  # called after a click with whether it is paused now

    def __init__(self, view: View, kind: PauseKind, name: str, dialog: PauseDialog) -> None:
        self._view, self._dialog = view, dialog
        self._kind, self._name = kind, name
        self._title = title_of(view, kind, name)
        self._paused = False
        self._button = text("button", view.t("now.pause"), "button small pause", type="button")
        self._label()
        self._button.on("click", self._click)
        self._button.set_visibility(may_control(view, kind))

    def show(self, paused: bool) -> None:
        """Labels the button with what a click would do."""
        if paused != self._paused:
            self._paused = paused
            self._label()

    async def _click(self) -> None:
        if self._paused:
            await self._change(Action.RESUME)
        else:
            self._dialog.ask(self._kind, self._title, self._pause)

    async def _pause(self, reason: str) -> None:
        await self._change(Action.PAUSE, reason=reason)

    async def _change(self, action: Action, *, reason: str | None = None) -> None:
        if await change(self._view, self._kind, self._name, action, reason=reason):
            self.show(action is Action.PAUSE)
            if self.changed:
                self.changed(action is Action.PAUSE)

    def _label(self) -> None:
        key = "now.resume" if self._paused else "now.pause"
        self._button.text = self._view.t(key)
        self._button.props["aria-label"] = self._view.t(f"{key}.of", name=self._title)
