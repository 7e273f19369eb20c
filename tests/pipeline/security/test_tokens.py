"""Session tokens and content links: scope, expiry and refusal of forged ones."""

from __future__ import annotations

import base64
import json

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from pipeline.errors import SettingsError
from pipeline.security.tokens import TokenSigner
from tests.support.catalogues import Clock

SECRET = "a token of the tests"
MEDIA = "ab" * 16


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def signer(clock: Clock) -> TokenSigner:
    return TokenSigner(SecretStr(SECRET), clock=clock)


def parts_of(path: str) -> tuple[str, str]:
    query = dict(pair.split("=") for pair in path.partition("?")[2].split("&"))
    return query["expires"], query["signature"]


@given(st.text(min_size=1).filter(lambda text: text.isprintable()))
def test_session_token_contains_its_session(session: str) -> None:
    signer = TokenSigner(SecretStr(SECRET))
    assert signer.session_of(signer.session_token(session, gateway="media", days=1)) == session


def test_session_token_expires_after_its_days(signer: TokenSigner, clock: Clock) -> None:
    token = signer.session_token("shop", gateway="media", days=2)
    clock.now += 2 * 86_400 - 1
    assert signer.session_of(token) == "shop"
    clock.now += 1
    assert signer.session_of(token) is None


def test_new_api_token_invalidates_tokens_and_links(signer: TokenSigner) -> None:
    other = TokenSigner(SecretStr(SECRET + "!"), clock=Clock())
    path, _ = signer.link(MEDIA, seconds=60)
    assert other.session_of(signer.session_token("shop", gateway="media", days=1)) is None
    assert not other.is_valid_link(MEDIA, *parts_of(path))


@pytest.mark.parametrize(
    "claims",
    [
        {"session": "shop", "aud": "esteira"},
        {"session": "shop", "exp": 2_000_000_000},
        {"session": "shop", "aud": "elsewhere", "exp": 2_000_000_000},
        {"aud": "esteira", "exp": 2_000_000_000},
        {"session": "", "aud": "esteira", "exp": 2_000_000_000},
        {"session": ["shop"], "aud": "esteira", "exp": 2_000_000_000},
        {"session": None, "aud": "esteira", "exp": 2_000_000_000},
        {"session": "shop", "aud": "esteira", "exp": "2000000000"},
    ],
)
def test_token_with_missing_or_invalid_claims_is_refused(signer: TokenSigner, claims: dict[str, object]) -> None:
    assert signer.session_of(jwt.encode(claims, signer._token_key, algorithm="HS256")) is None


def test_token_with_another_algorithm_or_key_is_refused(signer: TokenSigner) -> None:
    claims = {"session": "shop", "aud": "esteira", "exp": 2_000_000_000}
    valid = jwt.encode(claims, signer._token_key, algorithm="HS256")
    assert signer.session_of(valid) == "shop"
    head = base64.urlsafe_b64encode(json.dumps({"alg": "none", "typ": "JWT"}).encode()).decode().rstrip("=")
    unsigned = f"{head}.{valid.split('.')[1]}."
    forged = [
        unsigned,
        jwt.encode(claims, signer._token_key * 2, algorithm="HS512"),
        jwt.encode(claims, SECRET.ljust(32), algorithm="HS256"),
        jwt.encode(claims, signer._link_key, algorithm="HS256"),
        valid[:-2],
        valid + ".x",
        "",
        "x.y.z",
    ]
    assert [signer.session_of(token) for token in forged] == [None] * len(forged)


def test_link_is_valid_for_its_content_until_it_expires(signer: TokenSigner, clock: Clock) -> None:
    path, expires = signer.link(MEDIA, seconds=60)
    assert path.startswith(f"/media/{MEDIA}/content?expires={expires}&")
    signed = parts_of(path)
    assert signer.is_valid_link(MEDIA, *signed)
    assert not signer.is_valid_link("cd" * 16, *signed)
    assert not signer.is_valid_link(MEDIA, str(expires + 1), signed[1])
    assert not signer.is_valid_link(MEDIA, signed[0], signed[1].upper())
    for invalid in ("", "-1", "1e9", "٣", "9" * 13, f" {expires}", f"{expires}.0"):
        assert not signer.is_valid_link(MEDIA, invalid, signed[1])
    for invalid in ("", "\udcff", "ä", signed[1][:-1]):
        assert not signer.is_valid_link(MEDIA, signed[0], invalid)
    clock.now += 60
    assert not signer.is_valid_link(MEDIA, *signed)


@pytest.mark.parametrize("secret", [None, SecretStr(""), SecretStr("short")])
def test_signer_refuses_a_missing_or_short_api_token(secret: SecretStr | None) -> None:
    with pytest.raises(SettingsError, match="API_TOKEN"):
        TokenSigner(secret)
