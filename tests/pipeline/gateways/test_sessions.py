"""The session of a message: as it is, missing, empty, or one that cannot be stored."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.errors import Code, PayloadError
from pipeline.gateways import GATEWAYS, ParsedPayload
from pipeline.gateways.intake import check_identifiers
from tests.support.checking import settings

KEY = {"id": "3EB0", "remoteJid": "5581@s.whatsapp.net"}
EVOLUTION = {"event": "messages.upsert", "data": {"key": KEY, "message": {"imageMessage": {"directPath": "/v/x"}}}}
WAHA = {"event": "message", "payload": {"id": "false_5581@c.us_3EB0", "media": {"url": "https://a/b"}}}
IMAGE = {"event": "onmessage", "id": "false_5581@c.us_3EB0", "type": "image", "directPath": "/v/x"}
GOWA = {"id": "3EB0", "chat_id": "5581@s.whatsapp.net", "image": "statics/media/1.jpeg"}
CLOUD = {"id": "wamid.1", "from": "5581", "type": "image", "image": {"id": "1"}}


def cloud(session: Any) -> dict[str, Any]:
    value = {"metadata": {"phone_number_id": session}, "messages": [CLOUD]}
    return {"entry": [{"changes": [{"value": value}]}]}


PAYLOADS = {
    "evolution": (lambda session: {**EVOLUTION, "instance": session}, "instance"),
    "waha": (lambda session: {**WAHA, "session": session}, "session"),
    "gowa": (lambda session: {"event": "message", "device_id": session, "payload": GOWA}, "device_id"),
    "wppconnect": (lambda session: {**IMAGE, "session": session}, "session"),
    "cloud": (cloud, "phone_number_id"),
    "media": (lambda session: {"session": session, "message_id": "m", "url": "https://a/b"}, "session"),
}
NOTHING = [None, "", " ", {}, [], {"type": "Buffer", "data": []}]


def parse(gateway: str, session: Any, **values: Any) -> ParsedPayload:
    return GATEWAYS[gateway].parse(PAYLOADS[gateway][0](session), settings(**values))


@pytest.mark.parametrize("gateway", [*PAYLOADS])
def test_session_is_kept_as_it_is(gateway: str) -> None:
    (attachment,) = parse(gateway, "loja Ünïcode / 1", default_session="other").attachments
    assert attachment.session == "loja Ünïcode / 1"


@pytest.mark.parametrize("nothing", NOTHING)
@pytest.mark.parametrize("gateway", [*PAYLOADS])
def test_missing_session_is_refused_and_its_field_named(gateway: str, nothing: Any) -> None:
    with pytest.raises(PayloadError) as caught:
        parse(gateway, nothing)
    assert caught.value.code == Code.BAD_PAYLOAD
    field = PAYLOADS[gateway][1]
    assert caught.value.message == f"{field}: is missing, and DEFAULT_SESSION is not set"


@pytest.mark.parametrize("nothing", NOTHING)
@pytest.mark.parametrize("gateway", [*PAYLOADS])
def test_default_session_is_that_of_messages_without_one(gateway: str, nothing: Any) -> None:
    (attachment,) = parse(gateway, nothing, default_session="all").attachments
    assert (attachment.session, attachment.fault) == ("all", None)


@pytest.mark.parametrize("wrong", ["shop\0", "shop\ud800"])
@pytest.mark.parametrize("gateway", [*PAYLOADS])
def test_session_that_cannot_be_stored_is_refused_and_its_field_named(gateway: str, wrong: str) -> None:
    with pytest.raises(PayloadError) as caught:
        parse(gateway, wrong, default_session="other")
    assert caught.value.message == f"{PAYLOADS[gateway][1]}: must not contain NUL or a lone surrogate"


@pytest.mark.parametrize("wrong", [{"id": 1}, ["shop"], "s" * 513, 1.5, True])
@pytest.mark.parametrize("gateway", [*PAYLOADS])
def test_session_that_is_no_identifier_is_refused(gateway: str, wrong: Any) -> None:
    with pytest.raises(PayloadError) as caught:
        parse(gateway, wrong, default_session="other")
    assert caught.value.field == PAYLOADS[gateway][1]


@pytest.mark.parametrize(("field", "name"), [("id", "message_id"), ("from", "chat"), ("author", "sender")])
def test_only_message_with_an_identifier_that_cannot_be_stored_is_refused(field: str, name: str) -> None:
    body = {**IMAGE, "session": "shop", "from": "1@g.us", field: "a\0b"}
    parsed = GATEWAYS["wppconnect"].parse(body, settings())
    with pytest.raises(PayloadError) as caught:
        check_identifiers(parsed)
    assert caught.value.message == f"{name}: must not contain NUL or a lone surrogate"
    several = {"event": "onmessage", "session": "shop", "data": [body, IMAGE]}
    check_identifiers(GATEWAYS["wppconnect"].parse(several, settings()))


def test_message_id_that_cannot_be_stored_is_a_fault_of_its_message_alone() -> None:
    good, bad = {**IMAGE, "id": "good"}, {**IMAGE, "id": "a\0b"}
    body = {"event": "onmessage", "session": "shop", "data": [good, bad]}
    first, second = GATEWAYS["wppconnect"].parse(body, settings()).attachments
    assert (first.message_id, first.fault) == ("good", None)
    assert second.fault is not None
    assert second.fault.message == "message_id: must not contain NUL or a lone surrogate"
    assert second.message_id.startswith("sha256:")


@pytest.mark.parametrize("nothing", NOTHING)
@pytest.mark.parametrize("gateway", ["evolution", "wppconnect"])
def test_empty_field_of_a_gateway_is_absent(gateway: str, nothing: Any) -> None:
    names = ("mediaKey", "fileSha256", "fileEncSha256", "filehash", "encFilehash", "url", "clientUrl", "fileLength")
    others = ("size", "mimetype", "filename", "fileName", "caption", "t", "base64", "fileUrl")
    fields = {"directPath": "/v/x", **dict.fromkeys((*names, *others), nothing)}
    node = {"key": KEY, "message": {"imageMessage": fields, "mediaUrl": nothing}}
    payload = {**EVOLUTION, "data": node} if gateway == "evolution" else {**IMAGE, **fields}
    emptied = GATEWAYS[gateway].parse({**payload, "instance": "s", "session": "s"}, settings())
    plain = EVOLUTION if gateway == "evolution" else IMAGE
    assert emptied == GATEWAYS[gateway].parse({**plain, "instance": "s", "session": "s"}, settings())


def test_copy_is_used_beside_an_empty_key_and_path() -> None:
    empty = {"type": "Buffer", "data": []}
    fields = {"mediaKey": empty, "directPath": {}, "url": "https://mmg.whatsapp.net/x"}
    message = {"key": KEY, "message": {"imageMessage": fields, "mediaUrl": "https://copy/x"}}
    payload = {"event": "messages.upsert", "instance": "s", "data": message}
    (attachment,) = GATEWAYS["evolution"].parse(payload, settings()).attachments
    assert (attachment.url, attachment.media_key) == ("https://copy/x", None)
