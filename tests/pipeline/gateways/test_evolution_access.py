"""Authentication of Evolution API's hook: a token signed by its server, or the shared secret."""

from __future__ import annotations

import base64
import hmac
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Code
from pipeline.gateways import HookRequest, NoSecretError, UnauthorizedError, evolution
from tests.support.checking import settings

KEY = "a key of the tests that is long enough for an HS256"
SECRET = "a secret of the tests"


def segment(value: Any) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode()).rstrip(b"=")


def token(claims: Any, *, key: str = KEY, algorithm: Any = "HS256") -> str:
    """A JWT made without PyJWT. Algorithms other than HS384 and HS512 get the signature of HS256."""
    signed = segment({"alg": algorithm, "typ": "JWT"}) + b"." + segment(claims)
    digest = {"HS384": "sha384", "HS512": "sha512"}.get(str(algorithm), "sha256")
    signature = base64.urlsafe_b64encode(hmac.digest(key.encode(), signed, digest)).rstrip(b"=")
    return (signed + b"." + signature).decode()


def claims(*, issued: float = 0, expires: float = 600, **more: Any) -> dict[str, Any]:
    """The claims that Evolution API signs; `issued` and `expires` are in seconds from now, by default ten minutes."""
    now = int(time.time())
    return {"iat": now + issued, "exp": now + expires, "app": "evolution", "action": "webhook", **more}


def verify(*, path: str | None = None, jwt_key: str | None = KEY, secret: str | None = None, **headers: str) -> None:
    sent_headers = {name.replace("_", "-"): value for name, value in headers.items()}
    configured = settings(evolution_jwt_key=jwt_key, evolution_secret=secret)
    evolution.verify(HookRequest(headers=sent_headers, secret=path), configured)


def allowed(**credentials: Any) -> bool:
    try:
        verify(**credentials)
    except UnauthorizedError:
        return False
    return True


def bearer_token(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


def test_token_helper_reproduces_the_example_of_jwt_io() -> None:
    """The example token of jwt.io."""
    claims_ = {"sub": "1234567890", "name": "John Doe", "iat": 1516239022}
    assert token(claims_, key="your-256-bit-secret").endswith(".SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c")


def test_verify_accepts_the_servers_token() -> None:
    assert allowed(**bearer_token(token(claims())))
    assert allowed(authorization=f"bearer  {token(claims())} ")


@pytest.mark.parametrize(("changed", "accepted"), [({"issued": 50}, True), ({"issued": 70}, False)])
def test_issue_time_may_be_a_minute_ahead(changed: dict[str, float], accepted: bool) -> None:
    assert allowed(**bearer_token(token(claims(**changed)))) is accepted


@pytest.mark.parametrize(("expires", "accepted"), [(-50, True), (-70, False), (-86400, False)])
def test_token_is_accepted_for_a_minute_after_its_expiry(expires: int, accepted: bool) -> None:
    assert allowed(**bearer_token(token(claims(expires=expires)))) is accepted


@pytest.mark.parametrize(("issued", "accepted"), [(-650, True), (-670, False), (-86_400, False), (-1e9, False)])
def test_old_token_is_refused_whatever_its_expiry(issued: float, accepted: bool) -> None:
    """A stolen token is of no use after eleven minutes, even if its server gave it ten years."""
    assert allowed(**bearer_token(token(claims(issued=issued, expires=3e8)))) is accepted


@pytest.mark.parametrize("issued", ["1", True, None, [], "x", 1e999, -1e999, float("nan")])
def test_token_with_a_strange_issue_time_is_refused(issued: Any) -> None:
    assert not allowed(**bearer_token(token({**claims(), "iat": issued})))


@pytest.mark.parametrize("missing", ["exp", "iat"])
def test_token_without_a_time_claim_is_refused(missing: str) -> None:
    incomplete = {name: value for name, value in claims().items() if name != missing}
    assert not allowed(**bearer_token(token(incomplete)))


@pytest.mark.parametrize("algorithm", ["none", "HS384", "HS512", "RS256", "ES256", "hs256", "", None, ["HS256"], {}])
def test_token_with_another_algorithm_is_refused(algorithm: Any) -> None:
    assert not allowed(**bearer_token(token(claims(), algorithm=algorithm)))


def test_forged_changed_or_truncated_token_is_refused() -> None:
    valid = token(claims())
    head, body, signature = valid.split(".")
    assert not allowed(**bearer_token(token(claims(), key="another key that is as long as the right one")))
    assert not allowed(**bearer_token(f"{head}.{segment(claims(expires=9e9)).decode()}.{signature}"))
    assert not allowed(**bearer_token(f"{head}.{body}."))
    unsigned = segment({"alg": "none", "typ": "JWT"}).decode()
    assert not allowed(**bearer_token(f"{unsigned}.{body}."))
    assert not allowed(**bearer_token(f"{unsigned}.{body}.{signature}"))
    assert not allowed(**bearer_token(f"{head}.{body}"))
    assert not allowed(**bearer_token(valid[:-2]))
    assert not allowed(**bearer_token(valid.upper()))
    assert not allowed(**bearer_token(""))
    assert not allowed()
    assert not allowed(authorization=valid)
    assert not allowed(authorization=f"Basic {valid}")
    assert not allowed(x_webhook_secret=valid)


@given(
    st.text(max_size=200) | st.binary(max_size=60).map(lambda raw: base64.urlsafe_b64encode(raw).decode() + ".e30.x")
)
def test_random_text_as_a_token_is_refused(text: str) -> None:
    assert not allowed(**bearer_token(text))


@pytest.mark.parametrize("head", [b"[" * 30_000, b'{"a":' * 30_000, b"9" * 5000, b'{"alg":"HS256","crit":7}', b"\xff"])
def test_hostile_jwt_header_is_refused(head: bytes) -> None:
    text = base64.urlsafe_b64encode(head).rstrip(b"=").decode()
    assert not allowed(**bearer_token(f"{text}.e30.AAAA"))


def test_secret_is_accepted_in_either_header() -> None:
    assert allowed(jwt_key=None, secret=SECRET, x_webhook_secret=SECRET)
    assert allowed(jwt_key=None, secret=SECRET, **bearer_token(SECRET))
    assert allowed(secret=SECRET, x_webhook_secret=SECRET, authorization="Bearer of something else")
    assert allowed(secret=SECRET, **bearer_token(token(claims())))


@pytest.mark.parametrize("wrong", ["", "a", SECRET[:-1], SECRET + "x", SECRET.upper(), "sécret"])
def test_wrong_secret_is_refused(wrong: str) -> None:
    assert not allowed(jwt_key=None, secret=SECRET, x_webhook_secret=wrong)
    assert not allowed(jwt_key=None, secret=SECRET, **bearer_token(wrong))


def test_last_segment_of_the_path_is_not_a_secret() -> None:
    assert not allowed(jwt_key=None, secret="messages-upsert", path="messages-upsert")
    assert allowed(jwt_key=None, secret=SECRET, path="messages-upsert", x_webhook_secret=SECRET)


def test_jwt_key_and_secret_are_not_interchangeable() -> None:
    assert not allowed(x_webhook_secret=KEY)
    assert not allowed(**bearer_token(KEY))
    assert not allowed(jwt_key=None, secret=KEY, **bearer_token(token(claims())))


def test_refusal_message_contains_no_secret() -> None:
    with pytest.raises(UnauthorizedError) as caught:
        verify(secret=SECRET, x_webhook_secret="guess", **bearer_token(token(claims(expires=-999))))
    assert caught.value.code == Code.UNAUTHORIZED
    assert not [text for text in (SECRET, KEY, "guess", "eyJ") if text in str(caught.value)]


@pytest.mark.parametrize("unset", [None, ""])
def test_verify_without_any_secret_names_the_missing_settings(unset: str | None) -> None:
    with pytest.raises(NoSecretError) as caught:
        verify(jwt_key=unset, secret=unset, path="", x_webhook_secret="", **bearer_token(token(claims(), key="")))
    assert caught.value.setting == "EVOLUTION_JWT_KEY or EVOLUTION_SECRET"


@pytest.mark.parametrize(
    ("credentials", "reason", "words"),
    [
        ({}, "missing", "no secret was sent: send a JWT signed with EVOLUTION_JWT_KEY as Authorization: Bearer"),
        ({"secret": SECRET}, "missing", "X-Webhook-Secret"),
        ({"authorization": "Basic abc"}, "missing", "no secret was sent"),
        (bearer_token("a-guess"), "wrong", "is not a JWT signed with EVOLUTION_JWT_KEY"),
        (bearer_token("a.b.c"), "wrong", "it was not signed with the EVOLUTION_JWT_KEY"),
        (bearer_token(token(claims(expires=-999))), "wrong", "it has expired, or a clock is wrong"),
        (bearer_token(token(claims(issued=-999, expires=1e6))), "wrong", "it is older than 600 s, or a clock is wrong"),
        ({"jwt_key": None, "secret": SECRET, "x_webhook_secret": "a-guess"}, "wrong", "X-Webhook-Secret"),
    ],
)
def test_missing_wrong_and_old_credentials_are_told_apart(credentials: Any, reason: str, words: str) -> None:
    with pytest.raises(UnauthorizedError) as caught:
        verify(**credentials)
    assert caught.value.reason == reason
    assert words in caught.value.message
