"""Messages of each form become the request that its hook expects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from esteira_client import MessageError, OptionError
from esteira_client.messages import HandOver, WithoutMedia, hand_over_of

GENERIC = {"message_id": "m1", "url": "https://media.example/x", "kind": "image"}
WPPCONNECT = {"id": "false_5511999990000@c.us_3EB0A1", "type": "image", "from": "5511999990000@c.us"}
BAILEYS = {"key": {"id": "3EB0", "remoteJid": "1@s.whatsapp.net"}, "message": {"imageMessage": {}}}


def sent(message: Any, session: str | None = "shop", **options: Any) -> HandOver:
    made = hand_over_of(message, session, **options)
    assert isinstance(made, HandOver)
    return made


def test_generic_message_gets_the_session() -> None:
    made = sent(GENERIC)
    assert (made.path, made.body["session"], made.message_id) == ("/hooks/media", "shop", "m1")
    assert sent({**GENERIC, "session": "shop"}, None).id == made.id


def test_bytes_in_a_message_become_base64() -> None:
    made = sent({**GENERIC, "media_key": b"\x01" * 32})
    assert json.loads(made.json)["media_key"] == "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="


def test_data_as_bytes_is_sent_as_a_file() -> None:
    made = sent({"message_id": "m1", "data": b"jpeg", "filename": "photo.jpg"})
    assert (made.file, made.filename, "data" in made.body) == (b"jpeg", "photo.jpg", False)


def test_wppconnect_message_is_an_event_without_what_the_server_does_not_read() -> None:
    made = sent({**WPPCONNECT, "chat": object(), "sender": {"id": {"user": "77", "server": "lid"}, "pushname": "Ana"}})
    assert made.path == "/hooks/wppconnect"
    assert made.body == {**WPPCONNECT, "sender": {"id": "77@lid"}, "event": "onmessage", "session": "shop"}


def test_all_forms_of_an_id_are_one_attachment() -> None:
    parts = {"fromMe": False, "remote": {"user": "77", "server": "lid"}, "id": "3EB0A1"}
    raw = {"id": {"_serialized": "false_5511999990000@c.us_3EB0A1"}, "type": "image", "directPath": "/v/x"}
    ids = {sent({**WPPCONNECT, "id": given}).id for given in (WPPCONNECT["id"], parts, "3EB0A1")}
    assert ids == {sent({"_data": raw, "id": raw["id"], "hasMedia": True}).id}


def test_whatsapp_web_js_message_is_read_from_its_record() -> None:
    raw = {"id": {"_serialized": "true_1@g.us_3EB0", "fromMe": True}, "type": "image", "directPath": "/v/x"}
    made = sent({"_data": raw, "id": raw["id"], "hasMedia": True, "body": ""})
    assert (made.path, made.message_id) == ("/hooks/wppconnect", "true_1@g.us_3EB0")
    assert (made.body["directPath"], made.body["fromMe"]) == ("/v/x", True)


def test_own_message_of_venom_says_so_in_its_id() -> None:
    made = sent({"isOnline": True, "id": "true_1@c.us_3EB0", "type": "image", "content": "/9j/"})
    assert (made.body["fromMe"], made.body["body"]) == (True, "/9j/")


def test_baileys_message_is_an_event_of_evolution() -> None:
    made = sent({**BAILEYS, "status": 2})
    assert (made.path, made.message_id) == ("/hooks/evolution", "3EB0")
    assert made.body == {"event": "messages.upsert", "instance": "shop", "data": BAILEYS}


@pytest.mark.parametrize(
    "message",
    [
        {**WPPCONNECT, "type": "chat"},
        {**BAILEYS, "message": {"conversation": "Oi", "messageContextInfo": {}}},
        {**BAILEYS, "message": None},
    ],
)
def test_message_without_media_is_not_sent(message: Any) -> None:
    assert isinstance(hand_over_of(message, "shop"), WithoutMedia)


@pytest.mark.parametrize(
    ("message", "session", "says"),
    [
        ("text", "shop", "dict"),
        (GENERIC, "", "session"),
        (GENERIC, None, "session"),
        ({"url": "https://media.example/x"}, "shop", "unknown form"),
        ({"message_id": ""}, "shop", "message_id"),
        ({"message_id": "m1"}, "shop", "url"),
        ({"message_id": "m1", "data": b""}, "shop", "empty"),
        ({**GENERIC, "size": {1, 2}}, "shop", "JSON"),
        ({**GENERIC, "extra": object()}, "shop", "JSON"),
        ({"key": {"remoteJid": "1@g.us"}}, "shop", "key.id"),
        ({"id": {}, "type": "image"}, "shop", "no id"),
    ],
)
def test_message_that_cannot_be_handed_over_is_named(message: Any, session: str | None, says: str) -> None:
    with pytest.raises(MessageError, match=says):
        hand_over_of(message, session)


@pytest.mark.parametrize("form", ["wwebjs", "baileys", "venom", "wppconnect"])
def test_form_that_a_message_does_not_have_is_named(form: Any) -> None:
    with pytest.raises(MessageError):
        hand_over_of({"text": "Oi"}, "shop", form=form)


def test_unknown_form_is_named() -> None:
    other: Any = "telegram"
    with pytest.raises(OptionError, match="generic, wwebjs"):
        hand_over_of({"id": "m1"}, "shop", form=other)


def test_file_goes_with_the_generic_form(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"jpeg")
    made = sent({"message_id": "m1", "media_key": None, "size": 4}, file=photo)
    assert (made.filename, made.form_fields()) == ("", {"message_id": "m1", "size": "4", "session": "shop"})
    with pytest.raises(MessageError, match=r"absent\.jpg"):
        hand_over_of({"message_id": "m1"}, "shop", tmp_path / "absent.jpg")
    with pytest.raises(MessageError, match="generic"):
        hand_over_of(WPPCONNECT, "shop", b"jpeg")
