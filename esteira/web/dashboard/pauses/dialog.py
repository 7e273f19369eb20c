"""The question before a pause, with a field for its reason."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nicegui import ui

from actors.operations.pause import MAX_REASON
from esteira.web.dashboard.dialogs import Dialog
from esteira.web.dashboard.parts import text
from esteira.web.dashboard.view import View
from pipeline.catalogue import PauseKind

Confirmed = Callable[[str], Awaitable[object]]  # is given the reason


class PauseDialog(Dialog):
    """One dialog for all pause buttons of a page."""

    def __init__(self, view: View) -> None:
        super().__init__(view)
        self._confirmed: Confirmed | None = None
        with self.content:
            self._lead = text("p", "")
            self._reason = ui.input(view.t("pauses.reason"))
            self._reason.props(f"outlined dense autocomplete=off maxlength={MAX_REASON}")
            self.buttons("now.pause", self._confirm, classes="primary", close="pauses.close")

    def ask(self, kind: PauseKind, title: str, confirmed: Confirmed) -> None:
        """Asks whether to pause this stage or session, and calls `confirmed` after a yes."""
        self._confirmed = confirmed
        self.title.text = self.view.t(f"pauses.{kind}.title", name=title)
        self._lead.text = self.view.t(f"pauses.{kind}.lead")
        self._reason.value = ""
        self.open()

    async def _confirm(self) -> None:
        self.close()
        confirmed, self._confirmed = self._confirmed, None
        if confirmed:
            await confirmed(str(self._reason.value or "")[:MAX_REASON])
