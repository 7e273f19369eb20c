from __future__ import annotations

import base64
import json
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Code, PayloadError
from pipeline.models import Attachment, Claim, Kind, Record, parse_attachment
from pipeline.values.gateway_values import decode_bytes, display_name

MINIMAL = {"session": "shop", "message_id": "m1", "url": "https://media.example/x"}
SHA256 = st.binary(min_size=32, max_size=32)

DIALECTS = {
    "bytes": lambda raw: raw,
    "base64": lambda raw: base64.b64encode(raw).decode(),
    "base64 without padding": lambda raw: base64.b64encode(raw).decode().rstrip("="),
    "base64 for URLs": lambda raw: base64.urlsafe_b64encode(raw).decode(),
    "base64 for URLs without padding": lambda raw: base64.urlsafe_b64encode(raw).decode().rstrip("="),
    "base64 in spaces": lambda raw: f" {base64.b64encode(raw).decode()}\n",
    "numbers": list,
    "numbered object": lambda raw: {str(index): byte for index, byte in enumerate(raw)},
    "buffer": lambda raw: {"type": "Buffer", "data": list(raw)},
}
HEX = {"hex": bytes.hex, "hex in capitals": lambda raw: raw.hex().upper()}


@pytest.mark.parametrize("dialect", [*DIALECTS])
@given(raw=st.binary(max_size=80))
def test_bytes_are_parsed_in_every_form(dialect: str, raw: bytes) -> None:
    assert decode_bytes(DIALECTS[dialect](raw)) == raw


@pytest.mark.parametrize("dialect", [*HEX])
@given(raw=st.binary(min_size=32, max_size=80))
def test_long_hex_is_parsed_as_hex(dialect: str, raw: bytes) -> None:
    assert decode_bytes(HEX[dialect](raw)) == raw


@pytest.mark.parametrize(
    "wrong", [None, 5, True, "!", "a", "ä", [256], [-1], ["1"], {"1": 5}, {"data": [300]}, [[1]], 1.5]
)
def test_invalid_bytes_are_none(wrong: Any) -> None:
    assert decode_bytes(wrong) is None


@pytest.mark.parametrize("dialect", [*DIALECTS, *HEX])
@pytest.mark.parametrize("field", ["file_sha256", "file_enc_sha256"])
@given(raw=SHA256)
def test_sha256_of_any_form_becomes_hex(dialect: str, field: str, raw: bytes) -> None:
    written = {**DIALECTS, **HEX}[dialect](raw)
    assert getattr(parse_attachment({**MINIMAL, field: written}), field) == raw.hex()


@pytest.mark.parametrize("written", [None, ""])
def test_empty_sha256_is_none(written: Any) -> None:
    assert parse_attachment({**MINIMAL, "file_sha256": written}).file_sha256 is None


@pytest.mark.parametrize("dialect", ["bytes", "numbers", "numbered object", "buffer"])
@given(raw=SHA256)
def test_media_key_as_array_becomes_base64(dialect: str, raw: bytes) -> None:
    key = parse_attachment({**MINIMAL, "media_key": DIALECTS[dialect](raw)}).media_key
    assert key == base64.b64encode(raw).decode()


def test_media_key_as_text_is_kept() -> None:
    assert parse_attachment({**MINIMAL, "media_key": "as it came"}).media_key == "as it came"
    assert parse_attachment({**MINIMAL, "media_key": {"x": 1}}).media_key == '{"x": 1}'


# --- identity ---

WORDS = st.text(min_size=1, max_size=20)


@given(WORDS, WORDS, WORDS, st.integers(0, 50))
def test_id_is_32_hex_digits(gateway: str, session: str, message: str, part: int) -> None:
    one = Attachment(gateway=gateway, session=session, message_id=message, part=part, url="https://a/b")
    other = Attachment(gateway=gateway, session=session, message_id=message, part=part, caption="x", kind=Kind.VIDEO)
    assert one.id == other.id
    assert len(one.id) == 32
    assert set(one.id) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    "change",
    [{"gateway": "waha"}, {"session": "b"}, {"message_id": "m2"}, {"part": 1}, {"session": "shopm", "message_id": "1"}],
)
def test_id_depends_on_gateway_session_message_and_part(change: dict[str, Any]) -> None:
    assert Attachment(**{**MINIMAL, **change}).id != Attachment(**MINIMAL).id


def test_ids_are_stable() -> None:
    """Existing databases contain these ids. With other ids every repeated message would look new."""
    assert Attachment(session="shop", message_id="m1").id == "461f83100c999549bb47652c11b1d1f3"


def test_numeric_identifiers_become_text() -> None:
    assert parse_attachment({**MINIMAL, "session": 5, "message_id": 7}).id == Attachment(session="5", message_id="7").id


# --- cleaning ---


@given(st.text(st.characters()))
def test_text_is_cleaned_for_every_database(text: str) -> None:
    given_ = parse_attachment({**MINIMAL, "caption": text, "chat": text, "mimetype": text, "media_key": f"k{text}"})
    for value in (given_.caption, given_.chat, given_.mimetype, given_.media_key):
        assert value is not None
        assert "\0" not in value
        value.encode()
    assert json.loads(given_.model_dump_json())["caption"] == given_.caption


@given(st.text(st.characters()))
def test_file_name_is_safe_and_short(text: str) -> None:
    name = display_name(text)
    if name is not None:
        assert name
        assert len(name.encode()) <= 255
        assert not set(name) & set("/\\\0\r\n\x1b\u202e\u200b\u2028")
        assert name == display_name(name)


@pytest.mark.parametrize(
    ("given_", "shown"),
    [
        ("../../etc/cron.d/x", "x"),
        ("C:\\Users\\a\\photo.jpg", "photo.jpg"),
        ("a\r\nSet-Cookie: x", "aSet-Cookie: x"),
        ("gpj.\u202eexe", "gpj.exe"),
        ("  .hidden. ", "hidden"),
        ("..", None),
        ("", None),
        (None, None),
        ("olá 🎧.ogg", "olá 🎧.ogg"),
        ("x" * 4096 + ".jpg", "x" * 251 + ".jpg"),
        ("é" * 200 + ".jpg", "é" * 125 + ".jpg"),
    ],
)
def test_file_name_examples(given_: str | None, shown: str | None) -> None:
    assert display_name(given_) == shown


def test_media_type_has_no_parameters() -> None:
    assert Attachment(**MINIMAL, mimetype="Audio/OGG; codecs=opus").media_type == "audio/ogg"
    assert Attachment(**MINIMAL, mimetype=" ; x").media_type is None
    assert Attachment(**MINIMAL).media_type is None


# --- errors ---


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"session": None}, "session"),
        ({"session": ""}, "session"),
        ({"message_id": "x" * 513}, "message_id"),
        ({"message_id": ["m"]}, "message_id"),
        ({"part": -1}, "part"),
        ({"part": "first"}, "part"),
        ({"url": 5}, "url"),
        ({"url": "https://" + "x" * 20_000}, "url"),
        ({"data": 5}, "data"),
        ({"kind": "gif"}, "kind"),
        ({"mimetype": {}}, "mimetype"),
        ({"filename": 5}, "filename"),
        ({"size": -1}, "size"),
        ({"size": "big"}, "size"),
        ({"size": float("nan")}, "size"),
        ({"file_sha256": "ab"}, "file_sha256"),
        ({"file_enc_sha256": [1, 2]}, "file_enc_sha256"),
        ({"timestamp": "yesterday"}, "timestamp"),
        ({"expires_at": 1.5}, "expires_at"),
        ({"url": None}, "url"),
        ({"url": ""}, "url"),
    ],
)
def test_invalid_field_is_named_without_its_value(change: dict[str, Any], field: str) -> None:
    with pytest.raises(PayloadError) as caught:
        parse_attachment({**MINIMAL, **change})
    assert (caught.value.code, caught.value.field) == (Code.BAD_PAYLOAD, field)
    assert caught.value.message.startswith(f"{field}: ")
    assert "xxx" not in caught.value.message


@pytest.mark.parametrize("field", ["session", "message_id"])
def test_missing_field_is_named(field: str) -> None:
    with pytest.raises(PayloadError) as caught:
        parse_attachment({name: value for name, value in MINIMAL.items() if name != field})
    assert caught.value.field == field


@pytest.mark.parametrize("fields", [None, [], "text", 5, [MINIMAL]])
def test_attachment_must_be_a_json_object(fields: Any) -> None:
    with pytest.raises(PayloadError, match="JSON object"):
        parse_attachment(fields)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("01data"), inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*Attachment.model_fields, "unknown"]), JSON))
def test_any_json_is_an_attachment_or_a_payload_error(fields: dict[str, Any]) -> None:
    try:
        given_ = parse_attachment({**MINIMAL, **fields})
    except PayloadError:
        return
    assert set(given_.id) <= set(string.hexdigits)
    assert Attachment.model_validate_json(given_.model_dump_json()) == given_


@pytest.mark.parametrize("source", [{"url": "https://a/b"}, {"data": "aGk="}, {"direct_path": "/v/t"}])
def test_any_single_source_is_accepted(source: dict[str, str]) -> None:
    assert parse_attachment({"session": "s", "message_id": "m", "unknown": 1, **source}).session == "s"


@pytest.mark.parametrize("field", ["url", "data", "direct_path"])
def test_empty_fields_are_none(field: str) -> None:
    assert getattr(Attachment(session="s", message_id="m", **{field: ""}), field) is None


@pytest.mark.parametrize("nothing", ["", b"", [], {}, {"type": "Buffer", "data": []}])
def test_empty_media_key_is_kept_for_fetch_to_refuse(nothing: Any) -> None:
    assert parse_attachment({**MINIMAL, "media_key": nothing}).media_key == ""


def test_local_file_needs_no_other_source() -> None:
    bare = {"session": "s", "message_id": "m"}
    assert parse_attachment(bare, has_file=True).url is None
    with pytest.raises(PayloadError, match="one of url, data and direct_path"):
        parse_attachment(bare)
    with pytest.raises(PayloadError, match="session: "):
        parse_attachment({**bare, "session": ""}, has_file=True)


def test_repr_hides_keys_urls_and_bytes() -> None:
    secret = Attachment(
        **{**MINIMAL, "url": "https://h/?SECRET", "media_key": "SECRET", "data": "SECRET", "direct_path": "SECRET"}
    )
    record = Record(
        id=secret.id,
        gateway="media",
        session="s",
        message_id="m",
        part=0,
        status="received",
        stage="fetch",
        received_at=0,
    )
    assert "SECRET" not in f"{secret!r} {secret} {Claim(token='t', record=record, attachment=secret)!r}"
