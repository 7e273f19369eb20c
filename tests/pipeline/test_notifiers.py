from __future__ import annotations

import base64
import ipaddress
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import structlog
from standardwebhooks import Webhook

from pipeline.errors import Code, RetryableError, SettingsError
from pipeline.models import Outcome
from pipeline.notifiers import NOTIFIERS, build_notifiers, webhook
from pipeline.outbound import Outbound
from pipeline.settings import load_settings

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
EVENT = Outcome(
    event_id="ab" * 16, type="media.done", at="2022-01-01T00:00:01.234Z", id="01" * 16, session="shop", message_id="m1",
    caption="olá 🎧\n<b>", name="1640995200_ababab.jpeg", url="s3://bucket/ab/x",
)  # fmt: skip


class Receiver:
    """A webhook endpoint on loopback that answers `status` and keeps what it got."""

    def __init__(self) -> None:
        self.status = 204
        self.got: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(receiver.status)
                self.send_header("Location", "http://127.0.0.1:9/elsewhere")
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


def endpoint(url: str, *, secret: str = SECRET, **settings: Any) -> Any:
    given = load_settings(_env_file=None, webhook_url=url, webhook_secret=secret, **settings)
    return webhook.build(given, Outbound(allow_private=LOOPBACK))


def test_an_event_arrives_as_json_that_any_standard_webhooks_library_accepts(receiver: Receiver) -> None:
    endpoint(receiver.url)(EVENT)
    ((headers, body),) = receiver.got
    assert Webhook(SECRET).verify(body, headers) == EVENT.payload()
    assert json.loads(body)["type"] == "media.done"
    assert headers["webhook-id"] == EVENT.event_id
    assert headers["content-type"] == "application/json"


def test_another_secret_does_not_verify(receiver: Receiver) -> None:
    endpoint(receiver.url)(EVENT)
    ((headers, body),) = receiver.got
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(base64.b64encode(b"another secret of this length").decode()).verify(body, headers)


def test_the_event_id_is_the_same_for_everyone_who_sends_it(receiver: Receiver) -> None:
    deliver = endpoint(receiver.url)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: deliver(EVENT), range(12)))
    assert {headers["webhook-id"] for headers, _ in receiver.got} == {EVENT.event_id}
    assert len({body for _, body in receiver.got}) == 1


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_2xx_is_a_delivery(receiver: Receiver, status: int) -> None:
    receiver.status = status
    endpoint(receiver.url)(EVENT)
    assert len(receiver.got) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 404, 410, 429, 500, 503])
def test_any_other_answer_may_be_tried_again_and_is_not_repeated_to_anyone(receiver: Receiver, status: int) -> None:
    receiver.status = status
    with pytest.raises(RetryableError) as caught:
        endpoint(receiver.url)(EVENT)
    assert caught.value.code == Code.NOTIFY
    assert str(status) in caught.value.message
    assert "secret" not in str(caught.value)
    assert len(receiver.got) == 1


def test_an_endpoint_that_is_away_may_be_tried_again(receiver: Receiver) -> None:
    deliver = endpoint(receiver.url)
    receiver.close()
    with pytest.raises(RetryableError) as caught:
        deliver(EVENT)
    assert caught.value.code == Code.NOTIFY
    assert "secret" not in str(caught.value)


def test_a_name_that_has_come_to_lead_inside_is_not_followed(receiver: Receiver) -> None:
    """As after a change of its address: what was checked at the start is checked at each delivery."""
    open_, closed = Outbound(allow_private=LOOPBACK), Outbound()
    settings = load_settings(_env_file=None, webhook_url=receiver.url, webhook_secret=SECRET)
    deliver = webhook.build(settings, open_)
    assert isinstance(deliver, webhook.Endpoint)
    moved = webhook.Endpoint(deliver.url, signer=deliver.signer, outbound=closed, timeout_s=1)
    with pytest.raises(RetryableError, match="url_blocked"):
        moved(EVENT)
    assert receiver.got == []


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:9/", "http://169.254.169.254/", "http://[::1]:9/", "ftp://example.com/", "file:///etc/passwd"],
)
def test_a_url_that_leads_inside_stops_the_start_with_its_name(url: str) -> None:
    settings = load_settings(_env_file=None, webhook_url=url, webhook_secret=SECRET)
    with pytest.raises(SettingsError, match="WEBHOOK_URL"):
        webhook.build(settings, Outbound())


@pytest.mark.parametrize("secret", ["whsec_!!!not-base64!!!", "whsec_" + "=" * 16, "just some words, no base64"])
def test_a_secret_that_is_no_base64_stops_the_start_and_is_not_shown(receiver: Receiver, secret: str) -> None:
    with pytest.raises(SettingsError, match="WEBHOOK_SECRET") as caught:
        endpoint(receiver.url, secret=secret)
    assert secret not in str(caught.value)


@pytest.mark.parametrize("secret", [SECRET, SECRET.removeprefix("whsec_"), "whsec_" + "QUJD" * 5 + "QQ"])
def test_secrets_come_with_or_without_prefix_and_padding(receiver: Receiver, secret: str) -> None:
    endpoint(receiver.url, secret=secret)(EVENT)
    ((headers, body),) = receiver.got
    assert Webhook(secret).verify(body, headers)


def test_without_an_endpoint_only_the_log_is_told() -> None:
    assert len(build_notifiers(load_settings(_env_file=None, event_history=0), Outbound())) == 1
    assert list(NOTIFIERS) == ["log", "live", "node_socketio", "webhook"]


def test_the_log_has_a_line_for_each_ending_without_what_people_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.notifiers.log.log", structlog.get_logger())  # one that has written nothing yet
    failed = EVENT.model_copy(update={"type": "media.failed", "error": {"code": "broken", "message": "cut off"}})
    (write,) = build_notifiers(load_settings(_env_file=None, event_history=0), Outbound())
    with structlog.testing.capture_logs() as lines:
        write(EVENT)
        write(failed)
    assert [line["event"] for line in lines] == ["media.done", "media.failed"]
    assert [line.get("error_code") for line in lines] == [None, "broken"]
    assert (lines[0]["session"], lines[0]["id"], lines[0]["name"]) == (EVENT.session, EVENT.id, EVENT.name)
    assert "olá" not in repr(lines)
