"""The settings choose the notifiers; the log notifier leaves out what senders wrote."""

from __future__ import annotations

from dataclasses import replace

import pytest
import structlog

from pipeline.config.settings import load_settings
from pipeline.http_client import HttpClient
from pipeline.models import Outcome
from pipeline.notifiers import NOTIFIERS, build_notifiers

EVENT = Outcome(
    event_id="ab" * 16, type="media.done", at="2022-01-01T00:00:01.234Z", id="01" * 16, session="shop", message_id="m1",
    caption="olá 🎧\n<b>", name="1640995200_ababab.jpeg", url="s3://bucket/ab/x",
)  # fmt: skip


def test_only_the_log_notifier_is_built_without_an_event_history() -> None:
    assert len(build_notifiers(load_settings(_env_file=None, event_history=0), HttpClient())) == 1
    assert list(NOTIFIERS) == ["log", "live", "node_socketio"]


def test_log_notifier_leaves_out_captions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "pipeline.notifiers.log.log", structlog.get_logger()
    )  # not cached yet, so that capture_logs() works
    failed = replace(EVENT, type="media.failed", error={"code": "broken", "message": "cut off"})
    (write,) = build_notifiers(load_settings(_env_file=None, event_history=0), HttpClient())
    with structlog.testing.capture_logs() as lines:
        write(EVENT)
        write(failed)
    assert [(line["event"], line["log_level"]) for line in lines] == [("media.done", "debug"), ("media.failed", "info")]
    assert [line.get("error_code") for line in lines] == [None, "broken"]
    assert (lines[0]["session"], lines[0]["id"], lines[0]["name"]) == (EVENT.session, EVENT.id, EVENT.name)
    assert "olá" not in repr(lines)
