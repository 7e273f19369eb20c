"""Buttons that pause and resume. Their actions run over the page's WebSocket, which requires the login."""

from __future__ import annotations

from collections.abc import Callable

import redis
from nicegui import ui
from starlette.concurrency import run_in_threadpool

from actors.operations.audit import AuditEntry
from actors.operations.pause import pause, resume
from esteira.web.auth.session_control import require_control
from esteira.web.dashboard.parts import text
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
    except PipelineError as error:
        ui.notify(view.t("shell.failed", reason=error.message), type="negative")
        return False
    except (redis.RedisError, OSError):
        ui.notify(view.t("shell.failed", reason="Redis"), type="negative")
        return False
    return True


class PauseButton:
    """Pauses or resumes a stage or a session; `title` is its name on the page."""

    def __init__(self, view: View, kind: PauseKind, name: str, title: str) -> None:
        self._view = view
        self._title = title
        self._paused = False
        self._kind, self._name = kind, name
        self._button = text("button", view.t("now.pause"), "button small pause", type="button")
        self._label()
        self._button.on("click", self._click)
        permission = Permission.SYSTEM_CONTROL if kind == "stage" else Permission.PAUSE
        self._button.set_visibility(view.caller.may(permission))

    def show(self, paused: bool) -> None:
        """Labels the button with what a click would do."""
        if paused != self._paused:
            self._paused = paused
            self._label()

    async def _click(self) -> None:
        action = Action.RESUME if self._paused else Action.PAUSE
        target: dict[str, str] = {self._kind: self._name}
        if await perform(self._view, lambda: recorded(self._view, action, target, self._change)):
            self.show(not self._paused)
            await STATUS_POLLER.refresh()

    def _change(self, entry: AuditEntry) -> None:
        require_control(self._view.caller, self._kind, self._name)
        change = resume if entry.action is Action.RESUME else pause
        entry.count = change(self._kind, self._name)

    def _label(self) -> None:
        key = "now.resume" if self._paused else "now.pause"
        self._button.text = self._view.t(key)
        self._button.props["aria-label"] = self._view.t(f"{key}.of", name=self._title)


def pause_button(view: View, kind: PauseKind, name: str, title: str) -> PauseButton:
    """Adds the button of a stage or session, which counts as running until `show(True)`."""
    return PauseButton(view, kind, name, title)
