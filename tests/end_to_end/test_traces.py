"""Traces of real processes, received over OTLP: from the hook through every attempt to the result."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator

import pytest

from pipeline.models import Status
from tests.support.media_server import Answer, MediaServer
from tests.support.otlp_receiver import ReceivedSpan, Receiver, otlp_receiver
from tests.support.system import RunningSystem, photo
from tests.support.valkey import free_port
from tests.support.waiting import wait_until
from tests.support.web_server import TOKEN, WITHOUT_DASHBOARD, web_server
from tests.support.whatsapp_media import encrypt

STAGES = ["fetch", "detect", "validate", "persist", "notify"]
HEADER_TOKEN = "a-token-for-the-collector"
SIGNATURE = "s1gnature-of-a-url"
CAPTION = "a caption that must stay in the chat"
CALLER_TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with otlp_receiver() as receiver:
        yield receiver


@pytest.fixture
def traced(make_system: Callable[..., RunningSystem], receiver: Receiver) -> RunningSystem:
    return with_tracing(make_system(media_backoff_ms="50", **WITHOUT_DASHBOARD), receiver.url)


def with_tracing(system: RunningSystem, url: str) -> RunningSystem:
    system.env |= {
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{HEADER_TOKEN}",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    return system


def root(spans: list[ReceivedSpan]) -> ReceivedSpan:
    (span,) = (span for span in spans if span.name == "attachment")
    return span


def test_trace_covers_hook_and_stages_and_links_to_the_caller(traced: RunningSystem, receiver: Receiver) -> None:
    with MediaServer({"a.jpg": photo()}) as server, traced.workers() as workers, web_server(traced) as web:
        item = {"session": "shop", "message_id": "m1", "url": server.url("a.jpg"), "kind": "image"}
        headers = {"Authorization": f"Bearer {TOKEN}", "traceparent": f"00-{CALLER_TRACE}-b7ad6b7169203331-01"}
        answer = web.request("POST", "/hooks/media", json.dumps(item), headers=headers)
        media_id = answer.json["accepted"][0]["id"]
        (record,) = traced.wait_finished(media_id)
        wait_until(lambda: len(receiver.of(media_id)) == 9, 30)
        assert workers.stop() == 0
    spans = receiver.of(media_id)
    whole = root(spans)
    named = {span.name: span for span in spans}
    assert {span.trace for span in receiver.spans} == {media_id}
    assert sorted(named) == sorted(["attachment", "hook", "accept", "offer", *STAGES])
    assert [span.name for span in spans if span.name in STAGES] == STAGES
    assert {named[name].parent for name in ("hook", *STAGES)} == {whole.id}
    assert {named[name].parent for name in ("accept", "offer")} == {named["hook"].id}
    assert (whole.parent, whole.begin // 1_000_000, whole.end // 1_000_000) == (
        "", record.received_at, record.finished_at,
    )  # fmt: skip
    assert not any(span.failed for span in spans)
    assert named["hook"].links == [CALLER_TRACE]
    assert {span.service for span in spans} == {"esteira"}
    assert named["fetch"].attributes.items() >= {
        "esteira.stage": "fetch", "esteira.attempt": 1, "esteira.session": "shop", "esteira.kind": "image",
        "esteira.outcome": "done", "esteira.id": media_id,
    }.items()  # fmt: skip


def test_each_attempt_is_a_span_without_secrets(traced: RunningSystem, receiver: Receiver) -> None:
    sealed = encrypt(photo())
    with MediaServer() as server, traced.workers() as workers:
        server.answers["a.enc"] = Answer(500)
        media_id = traced.submit(
            url=f"{server.url('a.enc')}?sig={SIGNATURE}", media_key=sealed.media_key, caption=CAPTION,
            filename=f"{CAPTION}.jpg", sender="5511999998888@c.us",
        ).id  # fmt: skip
        traced.wait_finished(media_id)
        wait_until(lambda: any(span.name == "attachment" for span in receiver.of(media_id)), 30)
        assert workers.stop() == 0
    attempts = [span for span in receiver.of(media_id) if span.name == "fetch"]
    assert [span.attributes["esteira.attempt"] for span in attempts] == [1, 2, 3]
    assert [span.attributes["esteira.outcome"] for span in attempts] == ["retry", "retry", "failed"]
    assert all(span.failed and span.attributes["esteira.code"] == "fetch_unavailable" for span in attempts)
    whole = root(receiver.of(media_id))
    assert (whole.failed, whole.attributes["esteira.status"]) == (True, "failed")
    assert whole.message.startswith("fetch_unavailable: ")
    key = base64.b64decode(sealed.media_key)
    sent = b"".join(receiver.bodies)
    for secret in (SIGNATURE, CAPTION, HEADER_TOKEN, sealed.media_key, key.hex(), "5511999998888", "a.enc"):
        assert secret.encode() not in sent, secret
    assert {headers["authorization"] for headers in receiver.headers} == {f"Bearer {HEADER_TOKEN}"}
    assert HEADER_TOKEN not in workers.log.read_text()


def test_replay_has_a_trace_of_its_own(traced: RunningSystem, receiver: Receiver) -> None:
    with MediaServer() as server, traced.workers() as workers:
        server.answers["a.jpg"] = Answer(500)
        media_id = traced.submit(url=server.url("a.jpg")).id
        traced.wait_finished(media_id)
        wait_until(lambda: traced.queue.find_missing([media_id]), 30)
        server.answers["a.jpg"] = Answer(200, body=photo())
        assert traced.services.catalogue.reopen(media_id)
        traced.sweep()
        traced.wait_finished(media_id)
        assert workers.stop() == 0
    first, second = (span for span in receiver.spans if span.name == "attachment")
    assert (first.trace, first.attributes["esteira.run"], second.attributes["esteira.run"]) == (media_id, 0, 1)
    assert [span.name for span in receiver.of(second.trace) if span.name in STAGES] == STAGES
    assert second.begin >= first.end - 1_000_000


def test_attachment_of_a_dead_worker_continues_in_the_same_trace(traced: RunningSystem, receiver: Receiver) -> None:
    with MediaServer({"a.jpg": photo()}, delay_s=20) as server:
        with traced.workers() as workers:
            media_id = traced.submit(url=server.url("a.jpg"), kind="image").id
            wait_until(lambda: server.requests, 30)
            workers.kill()
        server.delay_s = 0
        traced.reap_dead_workers()
        with traced.workers() as workers:
            traced.wait_finished(media_id)
            assert workers.stop() == 0
    names = [span.name for span in receiver.of(media_id)]
    assert names == ["attachment", "crashed", *STAGES]


@pytest.mark.parametrize("answers", [False, True], ids=["unreachable", "refusing"])
def test_failing_endpoint_is_logged_once_and_delays_nothing(
    make_system: Callable[..., RunningSystem], receiver: Receiver, answers: bool
) -> None:
    receiver.status = 500
    url = receiver.url if answers else f"http://127.0.0.1:{free_port()}"
    system = with_tracing(make_system(**WITHOUT_DASHBOARD), f"{url}/?key={SIGNATURE}")
    with MediaServer({"a.jpg": photo()}) as server, system.workers() as workers:
        ids = []
        for _ in range(3):
            ids.append(system.submit(url=server.url("a.jpg"), kind="image").id)
            system.wait_finished(ids[-1])
        wait_until(lambda: workers.logged("traces cannot be sent"), 40)
        began = time.monotonic()
        assert workers.stop() == 0
        assert time.monotonic() - began < 20
    assert {system.record(media_id).status for media_id in ids} == {Status.DONE}
    assert len(workers.logged("traces cannot be sent")) == 1
    log = workers.log.read_text()
    assert HEADER_TOKEN not in log
    assert SIGNATURE not in log
    assert "opentelemetry" not in log


@pytest.mark.parametrize(
    ("name", "value"),
    [("OTEL_TRACES_SAMPLER", "always_off"), ("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")],
)
def test_standard_variables_switch_tracing_off(
    traced: RunningSystem, receiver: Receiver, name: str, value: str
) -> None:
    traced.env[name] = value
    with MediaServer({"a.jpg": photo()}) as server, traced.workers() as workers:
        traced.wait_finished(traced.submit(url=server.url("a.jpg"), kind="image").id)
        assert workers.stop() == 0
    assert receiver.headers == []


def test_service_has_the_configured_name(traced: RunningSystem, receiver: Receiver) -> None:
    traced.env |= {"OTEL_SERVICE_NAME": "esteira-2", "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}
    with MediaServer({"a.jpg": photo()}) as server, traced.workers() as workers:
        traced.wait_finished(traced.submit(url=server.url("a.jpg"), kind="image").id)
        assert workers.stop() == 0
    assert {span.service for span in receiver.spans} == {"esteira-2"}
