"""The encryption of sources: round trips, rotation, missing keys, and what a stored text shows."""

from __future__ import annotations

import base64

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import AwayError, Code
from pipeline.security.encryption import EncryptionKeyError, SourceCipher, key_id

OLD, NEW = (base64.urlsafe_b64encode(bytes([number]) * 32).decode() for number in (1, 2))
TEXT = '{"url":"https://mmg.whatsapp.net/secret","media_key":"a2V5"}'


@given(st.text())
def test_encrypted_text_is_decrypted_unchanged(text: str) -> None:
    cipher = SourceCipher([NEW, OLD])
    stored = cipher.encrypt(text)
    assert cipher.decrypt(stored) == text
    assert cipher.is_current(stored)
    assert stored.isascii()


@given(st.text(min_size=12))
def test_stored_text_contains_neither_text_nor_key(text: str) -> None:
    stored = SourceCipher([NEW]).encrypt(text)
    assert text not in stored
    assert NEW not in stored
    assert base64.urlsafe_b64encode(text.encode()).decode().rstrip("=") not in stored


@given(st.text())
def test_without_keys_texts_stay_plain(text: str) -> None:
    if key_id(text) is None:
        assert SourceCipher().decrypt(SourceCipher().encrypt(text)) == text == SourceCipher().encrypt(text)


def test_plain_rows_of_earlier_versions_are_read_with_keys() -> None:
    assert SourceCipher([NEW]).decrypt(TEXT) == TEXT
    assert not SourceCipher([NEW]).is_current(TEXT)


def test_text_of_the_old_key_is_read_and_not_current() -> None:
    stored = SourceCipher([OLD]).encrypt(TEXT)
    rotated = SourceCipher([NEW, OLD])
    assert rotated.decrypt(stored) == TEXT
    assert not rotated.is_current(stored)


def test_stored_text_names_its_key_without_showing_it() -> None:
    name = key_id(SourceCipher([OLD]).encrypt(TEXT))
    assert name == SourceCipher([NEW, OLD]).key_ids[1]
    assert name not in base64.urlsafe_b64decode(OLD).hex()


@pytest.mark.parametrize("keys", [(), (NEW,)])
def test_missing_key_is_an_error_that_counts_no_attempt_and_names_the_key(keys: tuple[str, ...]) -> None:
    stored = SourceCipher([OLD]).encrypt(TEXT)
    with pytest.raises(EncryptionKeyError, match=rf"key {key_id(stored)}, which is not set") as caught:
        SourceCipher(keys).decrypt(stored)
    assert caught.value.code is Code.ENCRYPTION_KEY
    assert isinstance(caught.value, AwayError)


@given(st.integers(min_value=0), st.characters(codec="ascii", categories=["L", "N"]))
def test_damaged_text_is_an_error_without_its_contents(place: int, character: str) -> None:
    cipher = SourceCipher([OLD])
    stored = cipher.encrypt(TEXT)
    place = len("enc1:01234567:") + place % 60
    damaged = f"{stored[:place]}{character}{stored[place + 1 :]}"
    if damaged == stored:
        return
    with pytest.raises(EncryptionKeyError, match="damaged") as caught:
        cipher.decrypt(damaged)
    assert caught.value.__cause__ is None
    assert damaged[20:] not in str(caught.value)


def test_token_is_a_fernet_token_that_other_programs_can_read() -> None:
    stored = SourceCipher([OLD]).encrypt(TEXT)
    assert Fernet(OLD).decrypt(stored.rpartition(":")[2]).decode() == TEXT


def test_mark_keys_differ_and_are_not_the_keys() -> None:
    assert SourceCipher().mark_key is None
    marks = [SourceCipher([key]).mark_key for key in (OLD, NEW)]
    assert len({*marks, *map(base64.urlsafe_b64decode, (OLD, NEW))}) == 4
