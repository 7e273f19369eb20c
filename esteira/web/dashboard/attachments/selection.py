"""The selection on the page Media: rows, or all that match, and the bar with what can be done with them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from nicegui import ui
from nicegui.events import GenericEventArguments
from starlette.concurrency import run_in_threadpool

from esteira.web.dashboard.attachments import parts
from esteira.web.dashboard.attachments.table_query import TableQuery
from esteira.web.dashboard.bulk.actions import BULK_ACTIONS, DELETE, BulkAction
from esteira.web.dashboard.bulk.progress import Progress
from esteira.web.dashboard.bulk.selections import MediaSelection
from esteira.web.dashboard.bulk.start import RateChoice, start
from esteira.web.dashboard.dialogs import Dialog
from esteira.web.dashboard.faults import fault
from esteira.web.dashboard.parts import box, text
from esteira.web.dashboard.recorded import PERMISSION_OF
from esteira.web.dashboard.view import View
from pipeline.errors import PipelineError
from pipeline.models import Record
from pipeline.services import services

# The checkboxes of the rows follow the one in the head. The server gets one event with the ids.
IDS = """(event) => {
  const boxes = [...document.querySelectorAll("input.tick[data-id]")];
  if (event.target.dataset.id === undefined) boxes.forEach((one) => { one.checked = event.target.checked; });
  emit(boxes.filter((one) => one.checked).map((one) => one.dataset.id));
}"""
UNCHECK = 'document.querySelectorAll("main input.tick").forEach((one) => { one.checked = false; })'
MAX_IDS = 200  # more than a page has rows


def allowed_actions(view: View) -> list[BulkAction]:
    """The actions that the viewer's role has. They are checked again when they start."""
    return [action for action in BULK_ACTIONS if view.caller.may(PERMISSION_OF[action.action])]


class MediaSelectionBar:
    """The selected rows of one page of the table, and the bar at the bottom."""

    def __init__(self, view: View, query: TableQuery, progress: Progress) -> None:
        self._view, self._query, self._progress = view, query, progress
        self._ids: tuple[str, ...] = ()
        self._everything = False
        self._dialog = _BulkDialog(view, self._started)

    def tick(self, record: Record) -> None:
        """Adds the checkbox of a row."""
        label = self._view.t("bulk.select.one", name=parts.name_of(record))
        self._watched(text("input", "", "tick", type="checkbox", data_id=record.id, aria_label=label))

    def tick_page(self) -> None:
        """Adds the checkbox for all rows of the page."""
        label = self._view.t("bulk.select.page")
        with box("label", "select"):
            self._watched(text("input", "", "tick", type="checkbox", aria_label=label))
            text("span", label, "select-words")

    def show(self) -> None:
        """Adds the bar."""
        view = self._view
        with box("section", "card bar", aria_label=view.t("bulk.actions")) as self._bar:
            self._status = text("p", "", role="status")
            with box("div", "actions"):
                self._all = text("button", view.t("bulk.all"), "button small", type="button")
                self._all.on("click", self._select_all)
                for action in allowed_actions(view):
                    classes = "danger" if action is DELETE else ""
                    button = text("button", view.t(f"bulk.{action.name}"), f"button small {classes}", type="button")
                    button.on("click", partial(self._ask, action))
                text("button", view.t("bulk.none"), "button small", type="button").on("click", self._clear)
        self._bar.set_visibility(False)

    def _watched(self, tick: ui.element) -> None:
        tick.on("change", self._note, js_handler=IDS)

    def _note(self, event: GenericEventArguments) -> None:
        ids = event.args if isinstance(event.args, list) else []
        self._ids = tuple(str(media_id) for media_id in ids[:MAX_IDS])
        self._everything = False
        self._say_selected()

    def _select_all(self) -> None:
        self._everything = True
        self._say_selected()

    def _clear(self) -> None:
        self._ids, self._everything = (), False
        ui.run_javascript(UNCHECK)
        self._say_selected()

    def _say_selected(self) -> None:
        view = self._view
        self._bar.set_visibility(self._everything or bool(self._ids))
        self._all.set_visibility(not self._everything)
        if self._everything:
            key = "bulk.chosen.all" if self._query.is_filtered else "bulk.chosen.everything"
            self._status.text = view.t(key)
        else:
            self._status.text = view.t("bulk.chosen", count=view.number(len(self._ids)))

    def _selection(self) -> MediaSelection:
        catalogue, caller = services().catalogue, self._view.caller
        ids = None if self._everything else self._ids
        return MediaSelection(self._query, catalogue.now() + 1, ids, caller)

    async def _ask(self, action: BulkAction) -> None:
        selection = self._selection()
        try:
            count = await run_in_threadpool(selection.count, services().catalogue, action)
        except PipelineError as error:
            self._status.text = self._view.t("shell.failed", reason=fault(self._view, error))
            return
        if count:
            self._dialog.ask(action, selection, count)
        else:
            self._status.text = self._view.t(f"bulk.{action.name}.empty")

    def _started(self, refusal: str | None) -> None:
        if refusal:
            self._status.text = refusal
            return
        self._clear()
        self._progress.show()


class _BulkDialog(Dialog):
    """The question before an action. To delete all that match, the number has to be typed."""

    def __init__(self, view: View, started: Callable[[str | None], None]) -> None:
        super().__init__(view)
        self._started = started
        self._asked: tuple[BulkAction, MediaSelection, int] | None = None
        with self.content:
            self._lead = text("p", "")
            self._typed = ui.input("").props("outlined dense autocomplete=off inputmode=numeric")
            self._wrong = text("p", view.t("bulk.type.wrong"), "fault", role="alert")
            with box("div", "actions"):
                self._rate = RateChoice(view, "bulk-rate")
            self.buttons("bulk.replay.do", self._confirm, classes="primary", close="bulk.close")

    def ask(self, action: BulkAction, selection: MediaSelection, count: int) -> None:
        """Opens the dialog for an action on so many attachments."""
        view, number = self.view, self.view.number(count)
        self._asked = action, selection, count
        self.title.text = view.t(f"bulk.{action.name}.title", count=number)
        self._lead.text = view.t(f"bulk.{action.name}.lead")
        self._typed.set_visibility(_is_dangerous(action, selection))
        self._typed.props["label"] = view.t("bulk.type", count=count)
        self._typed.update()
        self._typed.value = ""
        self._wrong.set_visibility(False)
        self.confirm.text = view.t(f"bulk.{action.name}.do")
        self.confirm.classes(**({"add": "danger", "remove": "primary"} if action is DELETE else NORMAL))
        self.open()

    async def _confirm(self) -> None:
        if self._asked is None:
            return
        action, selection, count = self._asked
        if _is_dangerous(action, selection) and str(self._typed.value or "").strip() != str(count):
            self._wrong.set_visibility(True)
            return
        self._asked = None
        self.close()
        self._started(await start(self.view, action, selection, total=count, rate=self._rate.value))


NORMAL = {"add": "primary", "remove": "danger"}


def _is_dangerous(action: BulkAction, selection: MediaSelection) -> bool:
    return action is DELETE and selection.ids is None
