"""Old messages that Evolution API sends after a phone was connected: all their media, which go last."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.errors import PayloadError
from pipeline.gateways import GATEWAYS, ParsedPayload
from pipeline.gateways.intake import MAX_HISTORY
from pipeline.models import Attachment
from tests.pipeline.gateways.test_named_media import HASH, KEY, PATH
from tests.support.checking import settings

IMAGE = {"imageMessage": {"directPath": PATH, "mediaKey": KEY, "fileSha256": HASH, "mimetype": "image/jpeg"}}
TEXT = {"conversation": "oi"}
HISTORY = "messages.set"


def message(number: int, content: Any = None) -> dict[str, Any]:
    key = {"remoteJid": "5581@s.whatsapp.net", "fromMe": False, "id": f"3EB0{number}"}
    return {"key": key, "message": content or IMAGE, "messageTimestamp": 1_690_000_000}


def parse(data: Any, event: str = HISTORY, **values: Any) -> ParsedPayload:
    return GATEWAYS["evolution"].parse({"event": event, "instance": "shop", "data": data}, settings(**values))


@pytest.mark.parametrize("event", ["messages.set", "MESSAGES_SET", "messages-set", "messaging-history.set"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_media_of_old_messages_are_attachments_that_go_last(event: str, wrapped: bool) -> None:
    messages = [message(1), message(2, TEXT), message(3)]
    parsed = parse({"messages": messages, "chats": [], "isLatest": True} if wrapped else messages, event)
    assert [(one.message_id, one.from_history) for one in parsed.attachments] == [("3EB01", True), ("3EB03", True)]
    assert parsed.ignored == 1
    assert parsed.attachments[0].timestamp == 1_690_000_000


def test_old_message_is_the_attachment_of_the_new_one() -> None:
    (old,) = parse([message(1)]).attachments
    (new,) = parse(message(1), "messages.upsert").attachments
    assert (old.id, new.from_history) == (new.id, False)


def test_thousands_of_old_messages_are_accepted_beyond_max_batch() -> None:
    parsed = parse([message(number, IMAGE if number % 2 else TEXT) for number in range(5000)], max_batch=5)
    assert (len(parsed.attachments), parsed.ignored) == (2500, 2500)
    with pytest.raises(PayloadError, match="MAX_BATCH"):
        parse([message(number) for number in range(6)], "messages.upsert", max_batch=5)


def test_old_messages_in_one_body_are_bounded() -> None:
    with pytest.raises(PayloadError, match=f"at most {MAX_HISTORY} old messages"):
        parse([message(1, TEXT)] * (MAX_HISTORY + 1))
    cards = {"interactiveMessage": {"cards": [{"imageMessage": {"directPath": f"/v/{n}"}} for n in range(900)]}}
    with pytest.raises(PayloadError, match=f"at most {MAX_HISTORY} old messages"):
        parse([message(number, cards) for number in range(30)])


@pytest.mark.parametrize("data", [[], None, {}, {"messages": None}, {"messages": []}, "text", [None, 7, "text"]])
def test_history_without_messages_is_ignored(data: Any) -> None:
    parsed = parse(data)
    assert parsed.attachments == ()
    assert parsed.ignored


def test_history_without_an_instance_is_refused() -> None:
    body = {"event": HISTORY, "data": [message(1)]}
    with pytest.raises(PayloadError, match="instance: is missing"):
        GATEWAYS["evolution"].parse(body, settings())


def test_senders_of_the_generic_json_cannot_send_history() -> None:
    fields = {"session": "s", "message_id": "m", "url": "https://a/b", "from_history": True}
    (attachment,) = GATEWAYS["media"].parse(fields, settings()).attachments
    assert attachment == Attachment(session="s", message_id="m", url="https://a/b")


# --- Cloud API ---


def cloud(field: str, **value: Any) -> ParsedPayload:
    change = {"field": field, "value": {"metadata": {"phone_number_id": "1"}, **value}}
    return GATEWAYS["cloud"].parse({"entry": [{"changes": [change]}]}, settings(max_batch=2))


def image(number: int, **fields: Any) -> dict[str, Any]:
    return {"id": f"wamid.{number}", "from": "55", "type": "image", "image": {"id": str(number)}, **fields}


def test_old_messages_of_the_cloud_api_go_last() -> None:
    placeholder = {"id": "wamid.0", "from": "55", "type": "media_placeholder"}
    thread = {"id": "55", "messages": [placeholder, *(image(number) for number in range(4))]}
    parsed = cloud("history", history=[{"metadata": {"phase": 0}, "threads": [thread]}])
    assert [attachment.from_history for attachment in parsed.attachments] == [True] * 4
    assert parsed.ignored == 1
    (media,) = cloud("history", messages=[image(7)]).attachments
    (marked,) = cloud("messages", messages=[image(7, history_context={"status": "READ"})]).attachments
    (new,) = cloud("messages", messages=[image(7)]).attachments
    assert (media.from_history, marked.from_history, new.from_history) == (True, True, False)
    assert media.id == new.id
