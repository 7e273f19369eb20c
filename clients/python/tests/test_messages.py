"""Messages of each form become the request that its hook expects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from esteira_client import MessageError
from esteira_client.messages import hand_over_of

GENERIC = {"message_id": "m1", "url": "https://media.example/x", "kind": "image"}


def test_generic_message_gets_the_session() -> None:
    sent = hand_over_of(GENERIC, "shop")
    assert (sent.path, sent.body["session"], sent.message_id) == ("/hooks/media", "shop", "m1")
    assert sent.id
    assert hand_over_of({**GENERIC, "session": "shop"}, None).id == sent.id


def test_bytes_in_a_message_become_base64() -> None:
    sent = hand_over_of({**GENERIC, "media_key": b"\x01" * 32}, "shop")
    assert json.loads(sent.json)["media_key"] == "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="


def test_wppconnect_message_is_an_event() -> None:
    message = {"id": "false_5511999990000@c.us_3EB0A1", "type": "image", "from": "5511999990000@c.us"}
    sent = hand_over_of(message, "shop")
    assert sent.path == "/hooks/wppconnect"
    assert sent.body == {**message, "event": "onmessage", "session": "shop"}
    lid = {"id": {"fromMe": False, "remote": {"user": "77", "server": "lid"}, "id": "3EB0A1"}, "type": "image"}
    assert hand_over_of(lid, "shop").id == sent.id


def test_whatsapp_web_js_message_is_read_from_its_data() -> None:
    raw = {"id": {"_serialized": "true_1@g.us_3EB0"}, "type": "image", "directPath": "/v/x", "mediaKey": "AA=="}
    sent = hand_over_of({"_data": raw, "id": raw["id"], "hasMedia": True, "body": ""}, "shop")
    assert sent.path == "/hooks/wppconnect"
    assert (sent.body["directPath"], sent.message_id) == ("/v/x", "true_1@g.us_3EB0")


def test_baileys_message_is_an_event_of_evolution() -> None:
    message = {"key": {"id": "3EB0", "remoteJid": "1@s.whatsapp.net"}, "message": {"imageMessage": {}}, "status": 2}
    sent = hand_over_of(message, "shop")
    assert (sent.path, sent.message_id) == ("/hooks/evolution", "3EB0")
    data = {"key": message["key"], "message": message["message"]}
    assert sent.body == {"event": "messages.upsert", "instance": "shop", "data": data}


@pytest.mark.parametrize(
    ("message", "session", "says"),
    [
        ("text", "shop", "dict"),
        (GENERIC, "", "session"),
        ({"url": "https://media.example/x"}, "shop", "message_id"),
        ({"message_id": "m1"}, "shop", "url"),
        ({**GENERIC, "caption": "\ud800"}, "shop", "JSON"),
        ({**GENERIC, "extra": object()}, "shop", "JSON"),
        ({"key": {}}, "shop", "key.id"),
    ],
)
def test_message_that_cannot_be_handed_over_is_named(message: Any, session: str, says: str) -> None:
    with pytest.raises(MessageError, match=says):
        hand_over_of(message, session)


def test_file_goes_with_the_generic_form(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"jpeg")
    sent = hand_over_of({"message_id": "m1", "media_key": None, "size": 4}, "shop", photo)
    assert (sent.filename, sent.form_fields()) == ("photo.jpg", {"message_id": "m1", "size": "4", "session": "shop"})
    with pytest.raises(MessageError, match=r"absent\.jpg"):
        hand_over_of({"message_id": "m1"}, "shop", tmp_path / "absent.jpg")
    with pytest.raises(MessageError, match="generic"):
        hand_over_of({"id": "m1"}, "shop", b"jpeg")
