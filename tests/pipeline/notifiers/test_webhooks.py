"""Webhook deliveries are signed, never follow redirects, and go to the endpoints that match an event."""

from __future__ import annotations

import base64
import ipaddress
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from standardwebhooks import Webhook

from pipeline.config.settings import load_settings
from pipeline.config.webhooks import EVENT_TYPES
from pipeline.errors import Code, PermanentError, RetryableError, SettingsError
from pipeline.http_client import HttpClient
from pipeline.models import Outcome
from pipeline.notifiers.webhooks import Endpoint, RefusedError, Webhooks, build_webhooks
from pipeline.steps.notify import EVENTS
from tests.support.http_client import Names
from tests.support.webhooks import OLDER, endpoints

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
EVENT = Outcome(
    event_id="ab" * 16, type="media.done", at="2022-01-01T00:00:01.234Z", id="01" * 16, session="shop", message_id="m1",
    caption="olá 🎧\n<b>", name="1640995200_ababab.jpeg", url="s3://bucket/ab/x",
)  # fmt: skip


class Receiver:
    """A webhook endpoint on loopback that answers `status` and records the requests in `received`."""

    def __init__(self) -> None:
        self.status = 204
        self.headers: dict[str, str] = {}
        self.received: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(receiver.status)
                self.send_header("Location", "http://127.0.0.1:9/elsewhere")
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "6")
                self.end_headers()
                self.wfile.write(b"secret")

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/hook?token=secret-token"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def endpoint(url: str, *, secret: str = SECRET, **settings: Any) -> Endpoint:
    return webhooks(webhook_url=url, webhook_secret=secret, **settings).endpoints["default"]


def webhooks(**settings: Any) -> Webhooks:
    return build_webhooks(load_settings(_env_file=None, **settings), HttpClient(allow_private=LOOPBACK))


def deliver(endpoint: Endpoint) -> None:
    endpoint.send(EVENT.event_id, EVENT.json)


def test_event_is_signed_json_that_standard_webhooks_libraries_accept(receiver: Receiver) -> None:
    deliver(endpoint(receiver.url))
    ((headers, body),) = receiver.received
    assert Webhook(SECRET).verify(body, headers) == EVENT.payload()
    assert json.loads(body)["type"] == "media.done"
    assert headers["webhook-id"] == EVENT.event_id
    assert headers["content-type"] == "application/json"


def test_signature_does_not_verify_with_another_secret(receiver: Receiver) -> None:
    deliver(endpoint(receiver.url))
    ((headers, body),) = receiver.received
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(base64.b64encode(b"another secret of this length").decode()).verify(body, headers)


def test_concurrent_deliveries_have_the_same_event_id(receiver: Receiver) -> None:
    target = endpoint(receiver.url)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: deliver(target), range(12)))
    assert {headers["webhook-id"] for headers, _ in receiver.received} == {EVENT.event_id}
    assert len({body for _, body in receiver.received}) == 1


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_2xx_status_is_a_delivery(receiver: Receiver, status: int) -> None:
    receiver.status = status
    deliver(endpoint(receiver.url))
    assert len(receiver.received) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 404, 410, 429, 500, 503])
def test_other_statuses_are_retryable_and_hide_the_answer(receiver: Receiver, status: int) -> None:
    receiver.status = status
    with pytest.raises(RefusedError) as caught:
        deliver(endpoint(receiver.url))
    assert caught.value.code == Code.NOTIFY
    assert str(status) in caught.value.message
    assert "secret" not in str(caught.value)
    assert len(receiver.received) == 1


def test_unreachable_endpoint_is_retryable(receiver: Receiver) -> None:
    target = endpoint(receiver.url)
    receiver.close()
    with pytest.raises(RetryableError) as caught:
        deliver(target)
    assert caught.value.code == Code.NOTIFY
    assert "secret" not in str(caught.value)


def test_address_is_checked_at_each_delivery(receiver: Receiver) -> None:
    """The host's address may have changed to a private one since the start."""
    url = receiver.url.replace("127.0.0.1", "hook.example")
    names = Names(["93.184.216.34"], ["127.0.0.1"])
    http_client = HttpClient(ports=(80, receiver.server.server_port), resolver=names)
    http_client.check_url(url, own_machine=True)
    with pytest.raises(RetryableError, match="url_blocked"):
        deliver(Endpoint(endpoint(url).settings, http_client=http_client, timeout_s=1))
    assert receiver.received == []


def test_endpoint_on_this_machine_needs_no_allowed_network(receiver: Receiver) -> None:
    settings = load_settings(_env_file=None, webhook_url=receiver.url, webhook_secret=SECRET)
    http_client = HttpClient()
    deliver(build_webhooks(settings, http_client).endpoints["default"])
    assert len(receiver.received) == 1
    with pytest.raises(PermanentError, match="url_blocked"):
        http_client.check_url(receiver.url)


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1/",
        "http://169.254.169.254/",
        "http://[fd00::1]/",
        "http://0.0.0.0:9/",
        "ftp://example.com/",
        "file:///etc/passwd",
    ],
)
def test_private_url_is_refused_with_the_name_of_its_setting(url: str) -> None:
    settings = load_settings(_env_file=None, webhook_url=url, webhook_secret=SECRET)
    with pytest.raises(SettingsError, match="WEBHOOK_URL"):
        build_webhooks(settings, HttpClient())


@pytest.mark.parametrize("secret", ["whsec_!!!not-base64!!!", "whsec_" + "=" * 16, "just some words, no base64"])
def test_secret_that_is_not_base64_is_refused_and_not_shown(receiver: Receiver, secret: str) -> None:
    with pytest.raises(SettingsError, match="WEBHOOK_SECRET") as caught:
        endpoint(receiver.url, secret=secret)
    assert secret not in str(caught.value)


@pytest.mark.parametrize("secret", [SECRET, SECRET.removeprefix("whsec_"), "whsec_" + "QUJD" * 5 + "QQ"])
def test_secrets_work_with_and_without_prefix_and_padding(receiver: Receiver, secret: str) -> None:
    deliver(endpoint(receiver.url, secret=secret))
    ((headers, body),) = receiver.received
    assert Webhook(secret).verify(body, headers)


def test_event_is_signed_with_both_secrets_during_rotation_newest_first(receiver: Receiver) -> None:
    deliver(endpoint(receiver.url, secret=f"{SECRET}, {OLDER}"))
    deliver(endpoint(receiver.url, secret=SECRET))
    (headers, body), (alone, _) = receiver.received
    for known in (SECRET, OLDER):
        assert Webhook(known).verify(body, headers) == EVENT.payload()
    both = headers["webhook-signature"].split(" ")
    assert [len(both), len(alone["webhook-signature"].split(" "))] == [2, 1]
    assert all(one.startswith("v1,") for one in both)
    newest = {**headers, "webhook-signature": both[0]}
    assert Webhook(SECRET).verify(body, newest)
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(OLDER).verify(body, newest)


def test_retry_after_of_the_endpoint_is_returned(receiver: Receiver) -> None:
    receiver.status, receiver.headers = 503, {"Retry-After": "120"}
    with pytest.raises(RefusedError) as caught:
        deliver(endpoint(receiver.url))
    assert (caught.value.status, caught.value.retry_after) == (503, 120)


def event(session: str, type_: str = "media.done") -> Outcome:
    return replace(EVENT, session=session, type=type_)


def test_event_goes_to_endpoints_whose_filters_match() -> None:
    configured = endpoints(
        {"name": "all", "url": "http://127.0.0.1:1/"},
        {"name": "bad-news", "url": "http://127.0.0.1:1/", "types": ["media.failed", "media.expired"]},
        {"name": "shops", "url": "http://127.0.0.1:1/", "sessions": ["shop-*", "kiosk"]},
        {"name": "both", "url": "http://127.0.0.1:1/", "types": ["media.failed"], "sessions": ["shop-1"]},
    )
    made = webhooks(webhook_endpoints=configured, webhook_url="http://127.0.0.1:1/", webhook_secret=SECRET)
    assert list(made.endpoints) == ["default", "all", "bad-news", "shops", "both"]
    assert made.endpoint_names(event("x")) == ["default", "all"]
    assert made.endpoint_names(event("kiosk")) == ["default", "all", "shops"]
    assert made.endpoint_names(event("kiosk-2")) == ["default", "all"]
    assert made.endpoint_names(event("shop-1", "media.failed")) == ["default", "all", "bad-news", "shops", "both"]


def test_session_name_that_looks_like_a_pattern_matches_itself() -> None:
    made = webhooks(webhook_endpoints=endpoints({"name": "a", "url": "http://127.0.0.1:1/", "sessions": ["[1]"]}))
    assert (made.endpoint_names(event("[1]")), made.endpoint_names(event("1")), made.endpoint_names(event("2"))) == (
        ["a"],
        ["a"],
        [],
    )


def test_filters_accept_exactly_the_event_types() -> None:
    assert set(EVENT_TYPES) == set(EVENTS.values())


def test_private_url_of_a_named_endpoint_is_refused_with_its_name() -> None:
    configured = endpoints({"name": "crm", "url": "http://10.0.0.1/secret-path"})
    with pytest.raises(SettingsError, match=r"WEBHOOK_ENDPOINTS: crm: .*not a public address") as caught:
        build_webhooks(load_settings(_env_file=None, webhook_endpoints=configured), HttpClient())
    assert "secret" not in str(caught.value)


def test_origin_leaves_out_path_and_query() -> None:
    assert endpoint("http://127.0.0.1:8443/secret-path?token=x").origin == "http://127.0.0.1:8443"


def test_wake_calls_only_the_waker_of_the_endpoint() -> None:
    made, heard = Webhooks(), []
    made.set_waker("crm", lambda: heard.append("crm"))
    made.wake(["crm", "logs"])
    made.set_waker("crm", None)
    made.wake(["crm"])
    assert heard == ["crm"]
