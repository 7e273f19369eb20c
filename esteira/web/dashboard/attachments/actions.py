"""The buttons of one attachment: replay, replay with a new source, cancel, delete. They do what the API does."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import redis
from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement
from nicegui.events import GenericEventArguments
from starlette.concurrency import run_in_threadpool

from actors.operations.cancel import cancel, cancel_refusal
from actors.operations.delete import delete
from actors.operations.replay import replay_without_waiting
from esteira.web.dashboard.attachments.source_uploads import PATH
from esteira.web.dashboard.dialogs import Dialog
from esteira.web.dashboard.faults import fault, fault_of_code
from esteira.web.dashboard.parts import box, text
from esteira.web.dashboard.recorded import recorded
from esteira.web.dashboard.view import View
from pipeline.catalogue import Action
from pipeline.errors import PipelineError
from pipeline.models import REPLAYABLE, Record, Status
from pipeline.models.replacement_source import NewSource, parse_new_source
from pipeline.security.roles import Permission

NO_FILE, ACCEPTED = 0, 202  # the answers to an upload: none was chosen, it is in progress
# The browser sends the chosen file itself: the page's socket is not made for files.
UPLOAD = """async (event) => {
  const file = document.getElementById(%(input)s).files[0];
  if (!file) return emit({status: 0});
  const button = event.currentTarget, form = new FormData();
  form.append("file", file);
  button.disabled = true;
  try {
    const answer = await fetch(%(path)s, {method: "POST", body: form});
    const body = await answer.json();
    emit({status: answer.status, code: body.error?.code ?? "", message: body.error?.message ?? ""});
  } catch (error) {
    emit({status: -1, code: "", message: error.message});
  } finally {
    button.disabled = false;
  }
}"""


class Actions:
    """The buttons that fit the attachment's status, and the result of the last click."""

    def __init__(self, view: View, media_id: str, refresh: Callable[[], Any]) -> None:
        self._view = view
        self._id = media_id
        self._refresh = refresh
        with box("div", "actions", role="group", aria_label=view.t("item.actions")):
            self._replay = self._button("item.replay", self._send, "primary")
            self._source = self._button("item.source")
            self._cancel = self._button("item.cancel", self._stop)
            self._delete = self._button("item.delete", classes="danger")
        self._said = text("p", "", "said-line", role="status")
        self._source.props["data-opens"] = _SourceDialog(view, media_id, self._send, self._uploaded).html_id
        self._delete.props["data-opens"] = _DeleteDialog(view, self._remove).html_id

    def show(self, record: Record) -> None:
        """Shows the buttons that the attachment's status allows."""
        may = self._view.caller.may
        ended = record.finished_at is not None and record.deleted_at is None
        for button in (self._replay, self._source):
            button.set_visibility(ended and record.status in REPLAYABLE and may(Permission.REPLAY))
        # The old source is gone: replaying with a new one is the main action.
        first = self._source if record.status is Status.EXPIRED else self._replay
        for button in (self._replay, self._source):
            button.classes(**({"add": "primary"} if button is first else {"remove": "primary"}))
        cancellable = not (record.finished_at or record.cancelled_at or cancel_refusal(record))
        self._cancel.set_visibility(cancellable and may(Permission.CANCEL))
        self._delete.set_visibility(ended and may(Permission.DELETE))

    def _button(self, key: str, pressed: Callable[[], Any] | None = None, classes: str = "") -> TextElement:
        button = text("button", self._view.t(key), f"button {classes}", type="button")
        return button.on("click", pressed) if pressed else button

    async def _send(self, source: NewSource | None = None) -> None:
        action = Action.NEW_SOURCE if source else Action.REPLAY
        await self._do(action, lambda: replay_without_waiting(self._id, source), "item.replay.done")

    async def _uploaded(self) -> None:
        self._say(self._view.t("item.replay.done"))
        await self._refresh()

    async def _remove(self) -> None:
        await self._do(Action.DELETE, lambda: delete(self._id), "item.delete.done")

    async def _stop(self) -> None:
        await self._do(Action.CANCEL, lambda: cancel(self._id), "item.cancel.asked")

    async def _do(self, action: Action, work: Callable[[], Record], done: str) -> None:
        target = {"id": self._id}
        try:
            record = await run_in_threadpool(recorded, self._view, action, target, lambda _: work())
        except (PipelineError, redis.RedisError) as error:
            self._say(self._view.t("shell.failed", reason=fault(self._view, error)), bad=True)
        else:
            ended = done == "item.cancel.asked" and record.finished_at is not None
            self._say(self._view.t("item.cancel.done" if ended else done))
        await self._refresh()

    def _say(self, words: str, *, bad: bool = False) -> None:
        self._said.text = words
        self._said.classes(replace="fault" if bad else "said-line")


class _DeleteDialog(Dialog):
    def __init__(self, view: View, remove: Callable[[], Any]) -> None:
        super().__init__(view, "item.delete.title")
        self._remove = remove
        with self.content:
            text("p", view.t("item.delete.lead"))
            self.buttons("item.delete.do", self._confirmed, classes="danger", close="item.keep")

    async def _confirmed(self) -> None:
        self.close()
        await self._remove()


class _SourceDialog(Dialog):
    def __init__(
        self,
        view: View,
        media_id: str,
        send: Callable[[NewSource | None], Any],
        uploaded: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(view, "item.source.title")
        self._send = send
        self._uploaded = uploaded
        with self.content:
            text("p", view.t("item.source.lead"), "hint")
            self._fields = {name: self._input(name) for name in ("url", "direct_path", "media_key")}
            self._plain = ui.checkbox(view.t("item.source.plain"))
            label = text("label", view.t("item.source.file"))
            file = box("input", "file-input", type="file")
            label.props["for"] = file.html_id
            self._fault = text("p", "", "fault", role="alert")
            self._fault.set_visibility(False)
            upload = UPLOAD % {"input": json.dumps(file.html_id), "path": json.dumps(PATH + media_id)}
            self.buttons("item.replay", self._answered, classes="primary", close="item.close", script=upload)

    def _input(self, name: str) -> ui.input:
        field = ui.input(self.view.t(f"item.source.{name}"), password=name == "media_key")
        return field.props("outlined dense autocomplete=off")

    async def _answered(self, event: GenericEventArguments) -> None:
        """Called when the browser has uploaded the chosen file, or found that none is chosen."""
        answer = event.args
        if answer["status"] == NO_FILE:
            await self._confirmed()
        elif answer["status"] == ACCEPTED:
            self.close()
            await self._uploaded()
        else:
            self._show(fault_of_code(self.view, str(answer["code"]), str(answer["message"])))

    async def _confirmed(self) -> None:
        try:
            source = self._given()
        except PipelineError as error:
            self._show(error.message)
            return
        if source is None:
            self._show(self.view.t("item.source.needed"))
            return
        self._fault.set_visibility(False)
        self.close()
        await self._send(source)

    def _show(self, words: str) -> None:
        self._fault.text = words
        self._fault.set_visibility(True)

    def _given(self) -> NewSource | None:
        fields: dict[str, str | None] = {
            name: str(field.value).strip() for name, field in self._fields.items() if str(field.value or "").strip()
        }
        if self._plain.value:
            fields["media_key"] = None
        return parse_new_source(fields) if fields.keys() & {"url", "direct_path"} else None
