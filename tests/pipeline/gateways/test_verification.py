"""Verification helpers that all hooks use: rows HOOK-01 and HOOK-02 of the checks."""

from __future__ import annotations

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from pipeline.errors import Code
from pipeline.gateways import NoSecretError, UnauthorizedError, verification
from pipeline.gateways.verification import bearer_token, check_hmac, constant_time_equal, required_secret

# RFC 4231, test case 2, whose key is text.
JEFE = b"what do ya want for nothing?"
SHA256 = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
SHA512 = (
    "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b"
    "636e070a38bce737"
)


@pytest.mark.parametrize(("digest", "signature"), [("sha256", SHA256), ("sha512", SHA512)])
def test_check_hmac_accepts_the_published_signatures(digest: str, signature: str) -> None:
    """RFC 4231, test case 2."""
    check_hmac(JEFE, signature, key="Jefe", digest=digest)


@pytest.mark.parametrize(
    "signature",
    [
        "",
        SHA256[:-1],
        SHA256[:32],
        SHA256 + "0",
        SHA256.upper(),
        f" {SHA256}",
        f"sha256={SHA256}",
        f"sha1={SHA256}",
        SHA512,
        SHA256[:-1] + "4",
        "é" * 64,
        "\udcff" * 64,
    ],
)
def test_check_hmac_refuses_another_signature(signature: str) -> None:
    with pytest.raises(UnauthorizedError) as caught:
        check_hmac(JEFE, signature, key="Jefe", digest="sha256")
    assert caught.value.code == Code.UNAUTHORIZED
    assert SHA256 not in str(caught.value)


@pytest.mark.parametrize("body", [b"", JEFE[:-1], JEFE + b" ", JEFE.upper(), b'{"a": 1}'])
def test_check_hmac_refuses_a_signature_of_another_body_or_key(body: bytes) -> None:
    with pytest.raises(UnauthorizedError):
        check_hmac(body, SHA256, key="Jefe", digest="sha256")
    with pytest.raises(UnauthorizedError):
        check_hmac(JEFE, SHA256, key="jefe", digest="sha256")


@pytest.mark.parametrize(
    "body", [b'{"text":"ol\\u00e1"}', '{"text":"olá"}'.encode(), b'{ "text" : "ol\xc3\xa1" }', b"\xff\0"]
)
def test_check_hmac_verifies_the_raw_bytes(body: bytes) -> None:
    """HOOK-02: the same JSON in another spelling has another signature."""
    signature = hmac.digest(b"key", body, "sha256").hex()
    check_hmac(body, signature, key="key", digest="sha256")
    for other in (b'{"text": "ol\\u00e1"}', body + b"\n"):
        with pytest.raises(UnauthorizedError):
            check_hmac(other, signature, key="key", digest="sha256")


@given(st.text(max_size=20), st.text(max_size=20))
def test_constant_time_equal_agrees_with_equality(first: str, second: str) -> None:
    first, second = (text.encode("utf-8", "replace").decode() for text in (first, second))
    assert constant_time_equal(first, second) is (first == second)
    assert constant_time_equal(first, first)


@pytest.mark.parametrize("secret", ["sécret", "\udcc3\udca9", "秘密"])
def test_constant_time_equal_accepts_any_characters(secret: str) -> None:
    assert constant_time_equal(secret, secret)
    assert constant_time_equal("\udcc3\udca9", "é")  # as undecoded bytes
    assert not constant_time_equal(secret, "secret")


def test_comparisons_use_compare_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    monkeypatch.setattr(
        verification.hmac, "compare_digest", lambda first, second: compared.append((first, second)) or False
    )
    assert not constant_time_equal("a", "b")
    with pytest.raises(UnauthorizedError):
        check_hmac(JEFE, SHA256, key="Jefe", digest="sha256")
    assert compared == [(b"a", b"b"), (SHA256.encode(), SHA256.encode())]


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer abc", "abc"),
        ("BEARER  abc ", "abc"),
        ("Bearer a b", "a b"),
        ("Bearer", ""),
        ("Bearer ", ""),
        ("Basic abc", ""),
        ("abc", ""),
        ("", ""),
        (" Bearer abc", ""),
    ],
)
def test_bearer_token_is_read_from_the_header(header: str, token: str) -> None:
    assert bearer_token(header) == token


@pytest.mark.parametrize("unset", [None, SecretStr("")])
def test_missing_secret_names_its_setting_but_not_in_the_message(
    unset: SecretStr | None,
) -> None:
    with pytest.raises(NoSecretError) as caught:
        required_secret(unset, "WAHA_HMAC_KEY")
    assert (caught.value.setting, caught.value.code) == ("WAHA_HMAC_KEY", Code.UNAUTHORIZED)
    assert "WAHA_HMAC_KEY" not in caught.value.message


def test_required_secret_returns_its_value() -> None:
    assert required_secret(SecretStr("s"), "ANY") == "s"
