"""Modal dialogs. Escape or the last button close them; the focus returns to where it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nicegui import ui

from esteira.web.dashboard.parts import box, text
from esteira.web.dashboard.view import View

EMIT = "(...args) => emit(...args)"  # as NiceGUI does without a script


class Dialog:
    """A dialog with a title. Add its content inside `with self.content`."""

    def __init__(self, view: View, title: str = "") -> None:
        self.view = view
        self.content = box("dialog", "card dialog")
        with self.content:
            self.title = text("h2", view.t(title) if title else "")
        self.content.props["aria-labelledby"] = self.title.html_id

    @property
    def html_id(self) -> str:
        """The id for a button's attribute `data-opens`."""
        return str(self.content.html_id)

    def open(self) -> None:
        """Opens the dialog from an event handler."""
        ui.run_javascript(f"document.getElementById({self.html_id!r}).showModal()")

    def close(self) -> None:
        """Closes the dialog from an event handler."""
        ui.run_javascript(f"document.getElementById({self.html_id!r}).close()")

    def buttons(self, key: str, pressed: Callable[..., Any], *, classes: str, close: str, script: str = EMIT) -> None:
        """Adds the button that does it and the one that closes the dialog.

        The browser runs the `script` first, and `pressed` gets what it emits.
        """
        with box("div", "actions"):
            self.confirm = text("button", self.view.t(key), f"button {classes}", type="button")
            self.confirm.on("click", pressed, js_handler=script)
            text("button", self.view.t(close), "button", type="button", data_closes="")
