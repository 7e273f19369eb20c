from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Code, RetryableError
from pipeline.models import Attachment, Kind, Outcome, Record, Stage, Status
from pipeline.steps.notify import build_outcome, event_id, notify_many

FIELDS = [
    *("event_id", "type", "at", "id", "gateway", "session", "message_id", "chat", "sender", "kind"),
    *("mime", "name", "size"),
    *("sha256", "url", "width", "height", "duration_ms", "caption", "error"),
    *("chat_number", "sender_number", "from_history"),
]


def record(**fields: object) -> Record:
    given_ = {
        "id": "0123456789abcdef" * 2, "gateway": "waha", "session": "shop", "message_id": "m1", "part": 0,
        "status": Status.STORED, "stage": Stage.NOTIFY, "kind": Kind.IMAGE, "mime": "image/jpeg", "ext": "jpeg",
        "size": 7, "sha256": "ab" * 32, "name": "1640995200_ababab.jpeg", "storage_key": f"ab/{'ab' * 32}",
        "chat": "c@g.us", "sender": "s@c.us", "caption": "olá", "width": 4, "height": 3, "filename": "a.jpg",
        "sender_number": "5581",
        "received_at": 1_640_995_200_000, "ended_at": 1_640_995_201_234, **fields,
    }  # fmt: skip
    return Record.model_validate(given_)


def test_event_has_exactly_the_contract_fields() -> None:
    payload = build_outcome(record(), "file:///media/ab/x").payload()
    assert list(payload) == FIELDS
    assert json.loads(json.dumps(payload)) == {
        "event_id": event_id(record()), "type": "media.done", "at": "2022-01-01T00:00:01.234Z",
        "id": "0123456789abcdef" * 2, "gateway": "waha", "session": "shop", "message_id": "m1",
            "chat": "c@g.us", "sender": "s@c.us",
        "kind": "image", "mime": "image/jpeg", "name": "1640995200_ababab.jpeg", "size": 7, "sha256": "ab" * 32,
        "url": "file:///media/ab/x", "width": 4, "height": 3, "duration_ms": None, "caption": "olá", "error": None,
        "chat_number": None, "sender_number": "5581", "from_history": False,
    }  # fmt: skip


@pytest.mark.parametrize("status", [Status.REJECTED, Status.FAILED, Status.EXPIRED])
def test_failure_event_has_an_error_and_no_url(status: Status) -> None:
    told = build_outcome(record(status=status, error_code="broken", error="the image is cut off"), "file:///x")
    assert (told.type, told.url) == (f"media.{status.value}", None)
    assert told.error == {"code": "broken", "message": "the image is cut off"}


def test_only_expired_event_has_the_source() -> None:
    key = bytes(range(32))
    attachment = Attachment(
        session="shop", message_id="m1", chat="c@g.us", media_key=key.hex(),
        direct_path="/v/t62.7118-24/f1.enc?ccb=11-4&oh=s3cret&oe=65A0B0C0", url="https://media.example/x?sig=s3cret",
    )  # fmt: skip
    payload = build_outcome(record(status=Status.EXPIRED, error_code="source_gone"), None, attachment).payload()
    assert list(payload) == [*FIELDS, "source"]
    assert payload["source"] == {
        "chat": "c@g.us", "message_id": "m1", "direct_path": "/v/t62.7118-24/f1.enc",
        "key_fingerprint": "630dcd2966c4336691125448bbb25b4f"[:16],
    }  # fmt: skip
    assert "s3cret" not in json.dumps(payload)
    assert key.hex() not in json.dumps(payload)
    for status in (Status.DONE, Status.REJECTED, Status.FAILED):
        assert list(build_outcome(record(status=status), None, attachment).payload()) == FIELDS


def test_source_without_key_and_path_has_no_fingerprint() -> None:
    attachment = Attachment(session="shop", message_id="m1", url="https://media.example/x", media_key="no key at all!")
    payload = build_outcome(record(status=Status.EXPIRED), None, attachment).payload()
    assert payload["source"] == {"chat": None, "message_id": "m1", "direct_path": None, "key_fingerprint": None}


def test_failure_without_code_has_the_code_internal() -> None:
    assert build_outcome(record(status=Status.FAILED), None).error == {"code": "internal", "message": ""}


def test_done_event_has_no_error() -> None:
    assert build_outcome(record(status=Status.DONE, error_code="notify", error="webhook: 500"), None).error is None


def test_unfinished_record_has_no_event() -> None:
    with pytest.raises(KeyError):
        build_outcome(record(status=Status.RECEIVED), None)


@given(st.integers(0, 50), st.integers(0, 50))
def test_event_id_depends_on_id_and_run_only(run: int, other: int) -> None:
    first, second = (
        build_outcome(record(run=run), None),
        build_outcome(record(run=other, ended_at=5, caption="x"), "file:///y"),
    )
    assert (first.event_id == second.event_id) == (run == other)
    assert len(first.event_id) == 32
    int(first.event_id, 16)


def test_failing_notifier_does_not_affect_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "pipeline.steps.notify.log", structlog.get_logger()
    )  # a new logger, which has no cached processors
    told: list[tuple[str, str]] = []

    def good(event: Outcome) -> None:
        told.append(("good", event.event_id))

    def refusing(event: Outcome) -> None:
        told.append(("refusing", event.event_id))
        raise RetryableError(Code.QUEUE, "Redis does not answer")

    def broken(event: Outcome) -> None:
        told.append(("broken", event.event_id))
        raise KeyError("what its author forgot: olá")

    event = build_outcome(record(), None)
    with structlog.testing.capture_logs() as lines:
        notify_many([event], [refusing, good, broken, good])
    assert [name for name, _ in told] == ["refusing", "good", "broken", "good"]
    assert {id_ for _, id_ in told} == {event.event_id}
    assert [(line["event"], line["error"]) for line in lines] == [
        ("notifier failed", "Redis does not answer"), ("notifier failed", "KeyError"),
    ]  # fmt: skip


class BatchNotifier:
    """A notifier with `publish_all`."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.got: list[list[str]] = []

    def __call__(self, told: Outcome) -> None:
        raise AssertionError(told)

    def publish_all(self, outcomes: Sequence[Outcome]) -> None:
        self.got.append([one.id for one in outcomes])
        if self.error:
            raise self.error


def test_notify_many_uses_publish_all_if_it_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.steps.notify.log", structlog.get_logger())
    told = [build_outcome(record(id=f"{number:032d}"), None) for number in range(3)]
    post, broken, each = BatchNotifier(), BatchNotifier(ValueError("x")), list[str]()

    def one_by_one(event: Outcome) -> None:
        each.append(event.id)
        if event is told[1]:
            raise RetryableError(Code.QUEUE, "away")

    with structlog.testing.capture_logs() as lines:
        notify_many(told, [broken, one_by_one, post])
    ids = [one.id for one in told]
    assert (post.got, broken.got, each) == ([ids], [ids], ids)
    assert [(line["id"], line["error"]) for line in lines] == [*((id_, "ValueError") for id_ in ids), (ids[1], "away")]


@given(
    st.text(st.characters(codec="utf-8")),
    st.text(st.characters(codec="utf-8")),
    st.integers(0, 2**53) | st.none(),
    st.sampled_from([Status.DONE, Status.FAILED]),
)
def test_event_json_is_the_payload_without_whitespace(
    caption: str, error: str, size: int | None, status: Status
) -> None:
    told = build_outcome(record(caption=caption, error=error, size=size, status=status), None)
    assert json.loads(told.json) == told.payload()
    assert told.json == json.dumps(told.payload(), ensure_ascii=False, separators=(",", ":"))


@given(st.integers(0, 253_402_300_799_999))
def test_event_time_has_milliseconds(ended_at: int) -> None:
    at = datetime.fromisoformat(build_outcome(record(ended_at=ended_at), None).at)
    assert at == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ended_at)
