"""Buttons that change something. What they do runs over the page's own socket, which is open to its login alone."""

from __future__ import annotations

from collections.abc import Callable

import redis
from nicegui import ui
from starlette.concurrency import run_in_threadpool

from actors.operations.pause import pause, resume
from esteira.web.dashboard.parts import text
from esteira.web.dashboard.status_poller import SAMPLER
from esteira.web.dashboard.view import View
from pipeline.catalogue import PauseKind
from pipeline.errors import PipelineError


async def perform(view: View, action: Callable[[], object]) -> bool:
    """Does it off the event loop; whether it went well. If it did not, the page says why."""
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
    """Pauses what runs and resumes what is paused, a stage or a session; `title` is what people call it."""

    def __init__(self, view: View, kind: PauseKind, name: str, title: str) -> None:
        self._view = view
        self._title = title
        self._paused = False
        self._change = {
            True: lambda: resume(kind, name),
            False: lambda: pause(kind, name),
        }
        self._button = text("button", view.t("now.pause"), "button small pause", type="button")
        self._label()
        self._button.on("click", self._click)

    def show(self, paused: bool) -> None:
        """Shows what it would do now."""
        if paused != self._paused:
            self._paused = paused
            self._label()

    async def _click(self) -> None:
        if await perform(self._view, self._change[self._paused]):
            self.show(not self._paused)
            await SAMPLER.refresh()

    def _label(self) -> None:
        key = "now.resume" if self._paused else "now.pause"
        self._button.text = self._view.t(key)
        self._button.props["aria-label"] = self._view.t(f"{key}.of", name=self._title)


def pause_button(view: View, kind: PauseKind, name: str, title: str) -> PauseButton:
    """The button of a stage or a session that is not paused as far as is known; `show` tells it otherwise."""
    return PauseButton(view, kind, name, title)
