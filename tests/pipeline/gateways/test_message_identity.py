"""One message is one attachment, whatever the form of its id and the addresses in it; numbers behind LIDs are kept."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.gateways import GATEWAYS
from pipeline.models import Attachment, parse_attachment
from pipeline.values.message_ids import message_identity, phone_number
from tests.support.checking import settings

STANZA = "3EB0C0FFEE"
NUMBER = "5511900000002"
LID = "100000000000001@lid"
GROUP = "120363000000000001@g.us"
PATH = {"directPath": "/v/x", "mediaKey": "AA=="}
ADDRESSES = [f"{NUMBER}@c.us", f"{NUMBER}@s.whatsapp.net", LID]


def parsed(gateway: str, payload: dict[str, Any]) -> Attachment:
    (attachment,) = GATEWAYS[gateway].parse({"session": "shop", "instance": "shop", **payload}, settings()).attachments
    return attachment


def waha(message_id: str, chat: str = f"{NUMBER}@c.us", **fields: Any) -> Attachment:
    message = {"id": message_id, "from": chat, "fromMe": False, "media": {"url": "https://a/b"}, **fields}
    return parsed("waha", {"event": "message", "payload": message})


def wppconnect(message_id: Any, chat: str = f"{NUMBER}@c.us", **fields: Any) -> Attachment:
    return parsed("wppconnect", {"event": "onmessage", "id": message_id, "from": chat, "type": "image", **fields})


def evolution(key: dict[str, Any], **fields: Any) -> Attachment:
    data = {"key": {"id": STANZA, **key}, "message": {"imageMessage": PATH}}
    return parsed("evolution", {"event": "messages.upsert", "data": data, **fields})


def forms(chat: str) -> list[Any]:
    """The forms in which engines write the id of a message that was received in this chat."""
    parts = {"fromMe": False, "remote": chat, "id": STANZA, "_serialized": None}
    return [f"false_{chat}_{STANZA}", STANZA, parts, {**parts, "_serialized": f"false_{chat}_{STANZA}"}]


@pytest.mark.parametrize("chat", ADDRESSES)
def test_every_form_and_address_of_a_message_is_one_attachment(chat: str) -> None:
    texts = [form for form in forms(chat) if isinstance(form, str)]
    assert {waha(form, chat).id for form in texts} == {waha(f"false_{ADDRESSES[0]}_{STANZA}").id}
    assert {wppconnect(form, chat).id for form in forms(chat)} == {wppconnect(f"false_{ADDRESSES[0]}_{STANZA}").id}
    assert evolution({"remoteJid": chat}).id == evolution({"remoteJid": ADDRESSES[0]}).id


def test_every_form_of_a_group_message_is_one_attachment() -> None:
    members = ["", *(f"_{address}" for address in ADDRESSES)]
    ids = {waha(f"false_{GROUP}_{STANZA}{member}", GROUP).id for member in members} | {waha(STANZA, GROUP).id}
    assert len(ids) == 1


def test_own_message_to_oneself_is_one_attachment() -> None:
    assert waha(f"true_{LID}_{STANZA}_out", fromMe=True).id == waha(STANZA, fromMe=True).id


def test_other_messages_are_other_attachments() -> None:
    other_group = GROUP.replace("1@", "2@")
    distinct = [
        waha(f"false_{ADDRESSES[0]}_{STANZA}"),
        waha(f"true_{ADDRESSES[0]}_{STANZA}"),
        waha(f"false_{ADDRESSES[0]}_{STANZA}0"),
        waha(f"false_{GROUP}_{STANZA}", GROUP),
        waha(f"false_{other_group}_{STANZA}", other_group),
        waha(f"false_status@broadcast_{STANZA}", "status@broadcast"),
        wppconnect(f"false_{ADDRESSES[0]}_{STANZA}"),
    ]
    assert len({attachment.id for attachment in distinct}) == len(distinct)


@pytest.mark.parametrize("message_id", [f"false_{LID}_{STANZA}", STANZA, "no known form", "a_b_c"])
def test_message_id_is_kept_as_it_was_sent(message_id: str) -> None:
    assert waha(message_id).message_id == message_id
    assert wppconnect(message_id).message_id == message_id


@pytest.mark.parametrize("message_id", ["no known form", "a_b_c", f"maybe_{LID}_{STANZA}", "a@b"])
def test_id_of_an_unknown_form_is_that_of_the_message_id(message_id: str) -> None:
    attachment = waha(message_id)
    assert (attachment.identity, attachment.former_id) == (None, None)
    assert attachment.id == Attachment(gateway="waha", session="shop", message_id=message_id).id


def test_former_id_is_that_of_earlier_versions() -> None:
    old = Attachment(gateway="waha", session="shop", message_id=f"false_{LID}_{STANZA}")
    assert waha(f"false_{LID}_{STANZA}").former_id == old.id


def test_generic_hook_sets_no_identity() -> None:
    fields = {"session": "s", "message_id": f"false_{LID}_{STANZA}", "url": "https://a/b"}
    assert parse_attachment({**fields, "identity": "x"}) == parse_attachment(fields)


@given(st.text() | st.none() | st.integers() | st.lists(st.text()), st.text() | st.none(), st.booleans())
def test_identity_of_any_value_is_text_or_none(message_id: Any, chat: Any, from_me: bool) -> None:
    identity = message_identity(message_id, chat=chat, from_me=from_me)
    assert identity is None or identity.startswith(f"{str(from_me).lower()}:") or "@" in message_id


IDS = st.from_regex(r"[A-Z0-9.-]{1,20}", fullmatch=True)


@given(IDS, IDS, st.booleans(), st.booleans())
def test_different_messages_have_different_identities(one: str, other: str, mine: bool, others: bool) -> None:
    identities = [message_identity(own, chat=LID, from_me=me) for own, me in ((one, mine), (other, others))]
    assert (identities[0] == identities[1]) is ((one, mine) == (other, others))


# --- numbers ---


@pytest.mark.parametrize(
    ("key", "chat", "sender"),
    [
        ({"remoteJid": LID, "remoteJidAlt": ADDRESSES[1], "addressingMode": "lid"}, NUMBER, NUMBER),
        ({"remoteJid": LID, "senderPn": ADDRESSES[1]}, NUMBER, NUMBER),
        ({"remoteJid": ADDRESSES[1], "remoteJidAlt": LID}, NUMBER, NUMBER),
        ({"remoteJid": f"{NUMBER}:12@s.whatsapp.net"}, NUMBER, NUMBER),
        ({"remoteJid": LID, "remoteJidAlt": ADDRESSES[1], "fromMe": True}, NUMBER, "5511"),
        ({"remoteJid": LID, "senderPn": ADDRESSES[1], "fromMe": True}, None, "5511"),
        ({"remoteJid": GROUP, "participant": LID, "participantAlt": ADDRESSES[1]}, None, NUMBER),
        ({"remoteJid": GROUP, "participant": LID, "participantPn": ADDRESSES[1]}, None, NUMBER),
        ({"remoteJid": GROUP, "participant": LID, "remoteJidAlt": ADDRESSES[1]}, None, None),
        ({"remoteJid": LID}, None, None),
        ({"remoteJid": LID, "remoteJidAlt": {}, "senderPn": [5]}, None, None),
    ],
)
def test_evolution_number_is_kept_beside_the_address(key: dict[str, Any], chat: str | None, sender: str | None) -> None:
    own = {"sender": "55110@s.whatsapp.net"} if sender == "5511" else {}
    attachment = evolution(key, **own)
    assert attachment.chat == key["remoteJid"]
    assert (attachment.chat_number, attachment.sender_number) == (chat, "55110" if own else sender)


@pytest.mark.parametrize(
    "data",
    [
        {"key": {"remoteJidAlt": ADDRESSES[1]}},
        {"key": {"senderPn": ADDRESSES[1]}},
        {"Info": {"SenderAlt": f"{NUMBER}:3@s.whatsapp.net"}},
    ],
)
def test_waha_number_comes_from_the_engine_record(data: dict[str, Any]) -> None:
    attachment = waha(f"false_{LID}_{STANZA}", LID, _data=data)
    assert (attachment.chat, attachment.sender) == (LID, LID)
    assert (attachment.chat_number, attachment.sender_number) == (NUMBER, NUMBER)


def test_waha_number_of_a_group_member_is_that_of_the_sender() -> None:
    data = {"key": {"participantAlt": ADDRESSES[1], "remoteJidAlt": "5599999@s.whatsapp.net"}}
    attachment = waha(f"false_{GROUP}_{STANZA}", GROUP, participant=LID, _data=data)
    assert (attachment.chat_number, attachment.sender_number) == (None, NUMBER)


def test_waha_number_of_an_own_message_is_that_of_the_recipient() -> None:
    message = {
        "id": f"true_{LID}_{STANZA}",
        "from": "55110@c.us",
        "to": LID,
        "fromMe": True,
        "media": {"url": "https://a/b"},
    }
    message["_data"] = {"Info": {"RecipientAlt": ADDRESSES[1], "SenderAlt": "55110@s.whatsapp.net"}}
    attachment = parsed("waha", {"event": "message.any", "me": {"id": "55110@c.us"}, "payload": message})
    assert (attachment.chat_number, attachment.sender_number) == (NUMBER, "55110")


@pytest.mark.parametrize(
    ("chat", "fields", "numbers"),
    [
        (LID, {"sender": {"id": LID, "phoneNumber": {"_serialized": ADDRESSES[0]}}}, (NUMBER, NUMBER)),
        (LID, {"senderPn": ADDRESSES[0]}, (NUMBER, NUMBER)),
        (GROUP, {"author": LID, "sender": {"phoneNumber": ADDRESSES[0]}}, (None, NUMBER)),
        (ADDRESSES[0], {}, (NUMBER, NUMBER)),
    ],
)
def test_wppconnect_number_is_kept_beside_the_address(chat: str, fields: dict[str, Any], numbers: Any) -> None:
    attachment = wppconnect(f"false_{chat}_{STANZA}", chat, **fields)
    assert (attachment.chat_number, attachment.sender_number) == numbers


@pytest.mark.parametrize(
    ("address", "number"),
    [
        (f"{NUMBER}@c.us", NUMBER),
        (f"{NUMBER}:7@s.whatsapp.net", NUMBER),
        *((other, None) for other in (LID, GROUP, NUMBER, "@c.us", "1@c.us.evil", "status@broadcast", None, 5, {}, "")),
        ("٥٥١١٩٠@c.us", None),
    ],
)
def test_phone_number_is_read_from_addresses_that_have_one(address: Any, number: str | None) -> None:
    assert phone_number(address) == number
    assert phone_number(LID, address, None) == number
