"""The webhook dispatcher in this process, with real receivers and a catalogue on disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import trustme
from standardwebhooks import Webhook

from actors.webhooks.admin import endpoints_json, maintain_deliveries, redeliver, redeliverable_ids
from actors.webhooks.dispatcher import EndpointWorker, failure_result
from pipeline.catalogue import Catalogue, DeliveryAttempt, DeliveryFilters, DeliveryRecord, DeliveryStatus
from pipeline.config.settings import load_settings
from pipeline.errors import Code, RetryableError
from pipeline.notifiers.webhooks import RefusedError
from pipeline.services import Services, build_services
from tests.support.media_server import Answer, MediaServer
from tests.support.tls import server_context
from tests.support.waiting import wait_until
from tests.support.webhooks import OLDER, SECRET, announced_record, endpoints, event_ids, posts

ATTEMPT = DeliveryAttempt("t" * 32, "1" * 32, "e" * 32, "a" * 32, "shop", "media.done", 0, 0, "{}")
PENDING, DELIVERED, UNDELIVERED, _ = DeliveryStatus
Make = Callable[..., Services]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Services with these endpoints, and their endpoint workers."""
    opened: list[Services] = []
    workers: list[EndpointWorker] = []

    def build(*given: dict[str, object], at_work: bool = True, **settings: str) -> Services:
        env = {"var_dir": str(tmp_path), "fetch_allow_private": "127.0.0.0/8", "event_history": 0, **settings}
        tools = build_services(load_settings(_env_file=None, webhook_endpoints=endpoints(*given), **env))
        tools.catalogue.migrate()
        opened.append(tools)
        for name, endpoint in tools.webhooks.endpoints.items() if at_work else ():
            worker = EndpointWorker(endpoint, tools.catalogue.deliveries, tools.settings)
            workers.append(worker)
            tools.webhooks.set_waker(name, worker.wake)
            worker.start()
        return tools

    yield build
    for worker in workers:
        worker.close(within_s=0.2)
    for tools in opened:
        tools.close()


@pytest.fixture
def receiver() -> Iterator[MediaServer]:
    with MediaServer() as server:
        yield server


def announce(tools: Services, *names: str, times: int = 1) -> list[str]:
    """Writes down an event for these endpoints, as the end of an attachment does; the event ids."""
    ids = [announced_record(tools.catalogue, *names).id for _ in range(times)]
    tools.webhooks.wake(names)
    return ids


def rows(catalogue: Catalogue, status: DeliveryStatus | None = None, **filters: str) -> list[DeliveryRecord]:
    return catalogue.deliveries.find(DeliveryFilters(status=status, **filters), limit=1000)


def test_event_is_delivered_once_and_signed(make: Make, receiver: MediaServer) -> None:
    tools = make({"name": "crm", "url": receiver.url("hook"), "secret": [SECRET, OLDER]})
    [event] = announce(tools, "crm")
    wait_until(lambda: rows(tools.catalogue, DELIVERED), 20)
    [request] = posts(receiver, "hook")
    assert request.headers["webhook-id"] == event
    for secret in (SECRET, OLDER):
        assert Webhook(secret).verify(request.body, dict(request.headers)) == {"caption": "words"}
    time.sleep(1.3)  # the next look
    assert len(posts(receiver, "hook")) == 1


def test_deliveries_of_other_processes_are_found(make: Make, receiver: MediaServer) -> None:
    tools = make({"name": "crm", "url": receiver.url("hook")})
    announced_record(tools.catalogue, "crm")  # no wake-up call
    wait_until(lambda: posts(receiver, "hook"), 20)


def test_endpoint_gets_all_events_after_an_outage(make: Make, receiver: MediaServer) -> None:
    receiver.answers["hook"] = Answer(500)
    tools = make({"name": "crm", "url": receiver.url("hook")}, webhook_retry_s="600,600")
    ids = announce(tools, "crm", times=12)
    wait_until(lambda: tools.catalogue.deliveries.circuit("crm").open, 20)
    [state] = endpoints_json(tools)
    assert (state["circuit"]["state"], state["circuit"]["error"]) == ("open", "the endpoint answered 500")
    tried = len(posts(receiver, "hook"))
    assert tried < 12, "the others lose no attempt"
    ids += announce(tools, "crm", times=3)
    receiver.answers["hook"] = Answer(204)
    refused = len(posts(receiver, "hook"))
    wait_until(lambda: len(rows(tools.catalogue, DELIVERED)) == 15, 40)
    assert sorted(event_ids(receiver, "hook")[refused:])[:15] == sorted(ids)
    assert endpoints_json(tools)[0]["circuit"]["state"] == "closed"
    assert endpoints_json(tools)[0]["pending"] == 0


def test_slow_endpoint_does_not_delay_others(make: Make) -> None:
    with MediaServer(delay_s=4) as slow, MediaServer() as fast:
        given = [{"name": "slow", "url": slow.url("hook")}, {"name": "fast", "url": fast.url("hook")}]
        tools = make(*given, webhook_concurrency="1")
        announce(tools, "slow", "fast", times=8)
        wait_until(lambda: len(rows(tools.catalogue, DELIVERED, endpoint="fast")) == 8, 20)
        assert len(rows(tools.catalogue, DELIVERED, endpoint="slow")) < 8
        assert len(posts(slow, "hook")) <= 6, "one request at a time"


def test_concurrent_requests_are_limited(make: Make) -> None:
    most, here, lock = [0], [0], threading.Lock()

    class Counting(MediaServer):
        def answer_for(self, name: str) -> Answer | None:
            with lock:
                here[0] += 1
                most[0] = max(most[0], here[0])
            time.sleep(0.1)
            with lock:
                here[0] -= 1
            return super().answer_for(name)

    with Counting() as server:
        tools = make({"name": "crm", "url": server.url("hook")}, webhook_concurrency="3")
        announce(tools, "crm", times=20)
        wait_until(lambda: len(rows(tools.catalogue, DELIVERED)) == 20, 30)
    assert most == [3]


@pytest.mark.parametrize("status", [302, 400, 404, 410, 500])
def test_delivery_is_given_up_after_the_schedule(make: Make, receiver: MediaServer, status: int) -> None:
    receiver.answers["hook"] = Answer(status, {"Location": receiver.url("elsewhere")}, b"what nobody may see")
    tools = make({"name": "crm", "url": receiver.url("hook")}, webhook_retry_s="0.2,0.2")
    announce(tools, "crm")
    wait_until(lambda: rows(tools.catalogue, UNDELIVERED), 30)
    [record] = rows(tools.catalogue)
    assert (record.attempts, record.error) == (3, f"the endpoint answered {status}")
    assert len(posts(receiver, "hook")) == 3
    assert len(set(event_ids(receiver, "hook"))) == 1
    assert receiver.hits("elsewhere") == 0


def test_untrusted_certificate_fails_the_delivery(make: Make) -> None:
    with MediaServer(tls=server_context(trustme.CA(), "127.0.0.1")) as server:
        tools = make({"name": "crm", "url": server.url("hook")}, webhook_retry_s="600")
        announce(tools, "crm")
        wait_until(lambda: rows(tools.catalogue)[0].attempts, 20)
        [record] = rows(tools.catalogue)
        assert server.requests == []
    assert record.error is not None
    assert record.error.startswith("fetch_tls: ")


def test_given_up_delivery_can_be_redelivered(make: Make, receiver: MediaServer) -> None:
    receiver.answers["hook"] = Answer(500)
    tools = make({"name": "crm", "url": receiver.url("hook")}, webhook_retry_s="0.1")
    ids = announce(tools, "crm", times=7)
    wait_until(lambda: endpoints_json(tools)[0]["circuit"]["state"] == "open", 20)
    wait_until(lambda: rows(tools.catalogue, UNDELIVERED), 20)
    receiver.answers["hook"] = Answer(204)
    wanted = redeliverable_ids(tools, DeliveryFilters(endpoint="crm"))
    assert redeliver(tools, [*wanted, "0" * 32]) == ["0" * 32]
    wait_until(lambda: len(rows(tools.catalogue, DELIVERED)) == 7, 40)
    assert set(event_ids(receiver, "hook")) == set(ids)


def test_close_waits_for_answers_and_records_them(make: Make) -> None:
    with MediaServer(delay_s=1.0) as server:
        tools = make({"name": "crm", "url": server.url("hook")}, at_work=False)
        worker = EndpointWorker(tools.webhooks.endpoints["crm"], tools.catalogue.deliveries, tools.settings)
        worker.start()
        announce(tools, "crm")
        wait_until(lambda: posts(server, "hook"), 20)
        worker.close(within_s=20)
        [record] = rows(tools.catalogue)
        assert (record.status, record.attempts) == (DELIVERED, 1)


def test_close_releases_unanswered_deliveries(make: Make) -> None:
    with MediaServer(delay_s=3.0) as server:
        tools = make({"name": "crm", "url": server.url("hook")}, at_work=False)
        worker = EndpointWorker(tools.webhooks.endpoints["crm"], tools.catalogue.deliveries, tools.settings)
        worker.start()
        announce(tools, "crm")
        wait_until(lambda: posts(server, "hook"), 20)
        worker.close(within_s=0.1)
        assert [one.attempts for one in rows(tools.catalogue, PENDING)] == [0]
        assert tools.catalogue.deliveries.is_due("crm")


def test_results_are_kept_while_the_catalogue_fails(make: Make, receiver: MediaServer) -> None:
    tools = make({"name": "crm", "url": receiver.url("hook")}, at_work=False)
    announce(tools, "crm")
    deliveries = tools.catalogue.deliveries
    worker = EndpointWorker(tools.webhooks.endpoints["crm"], deliveries, tools.settings)
    exchange, failures = (
        deliveries.record_and_claim,
        [RetryableError(Code.CATALOGUE, "away"), KeyError("a fault of ours")],
    )

    def unreliable(*args: object, **kwargs: object) -> object:
        if posts(receiver, "hook") and failures:
            raise failures.pop()
        return exchange(*args, **kwargs)  # type: ignore[arg-type]

    deliveries.record_and_claim = unreliable  # type: ignore[method-assign, assignment]
    worker.start()
    wait_until(lambda: rows(tools.catalogue, DELIVERED), 30)
    worker.close()
    assert len(posts(receiver, "hook")) == 1


def test_deliveries_of_a_removed_endpoint_are_given_up(make: Make, tmp_path: Path) -> None:
    tools = make({"name": "crm", "url": "http://127.0.0.1:9/"}, at_work=False, webhook_retry_s="0.2")
    announced_record(tools.catalogue, "crm", "old")
    assert maintain_deliveries(tools) == 0
    state = endpoints_json(tools)[1]
    assert (state["name"], state["configured"], state["origin"], state["pending"]) == ("old", False, None, 1)
    time.sleep(0.4)
    assert maintain_deliveries(tools) == 1
    [given_up] = rows(tools.catalogue, UNDELIVERED)
    assert (given_up.endpoint, given_up.error) == ("old", "endpoint old is no longer in the settings")
    assert redeliverable_ids(tools, DeliveryFilters()) == []
    assert redeliver(tools, [given_up.id]) == [given_up.id]
    assert [one.endpoint for one in rows(tools.catalogue, PENDING)] == ["crm"], "it was not tried yet"


def test_overdue_deliveries_are_given_up_only_after_a_failed_probe(make: Make, receiver: MediaServer) -> None:
    receiver.answers["hook"] = Answer(410)
    tools = make({"name": "crm", "url": receiver.url("hook")}, webhook_retry_s="60", webhook_concurrency="1")
    announce(tools, "crm", times=3)
    wait_until(lambda: tools.catalogue.deliveries.circuit("crm").open, 20)
    aged = make({"name": "crm", "url": receiver.url("hook")}, at_work=False, webhook_retry_s="0.1")
    time.sleep(0.3)
    wait_until(lambda: maintain_deliveries(aged), 20)
    assert {one.error for one in rows(tools.catalogue, UNDELIVERED)} == {
        "given up while the endpoint was unreachable: the endpoint answered 410"
    }


def test_retry_delays_have_jitter_and_end() -> None:
    error = RefusedError(500)
    waits = {failure_result(ATTEMPT, error, (100, 200)).retry_in_s for _ in range(200)}
    assert len(waits) > 100
    assert 90 <= min(filter(None, waits)) < 95
    assert 105 < max(filter(None, waits)) <= 110
    second = failure_result(ATTEMPT._replace(attempts=1), error, (100, 200)).retry_in_s
    assert second is not None
    assert 180 <= second <= 220
    assert failure_result(ATTEMPT._replace(attempts=2), error, (100, 200)).retry_in_s is None


def test_retry_after_lengthens_a_delay_by_at_most_a_day() -> None:
    def wait(retry_after: float) -> float | None:
        return failure_result(ATTEMPT, RefusedError(503, retry_after=retry_after), (100,)).retry_in_s

    assert wait(500) == 500
    assert wait(10**9) == 86_400
    short = wait(1)
    assert short is not None
    assert short >= 90


def test_status_410_opens_the_circuit_and_is_retried() -> None:
    result = failure_result(ATTEMPT, RefusedError(410), (100,))
    assert (result.gone, result.retry_in_s is not None) == (True, True)


def test_two_processes_deliver_each_event_once(make: Make, receiver: MediaServer) -> None:
    tools = make({"name": "crm", "url": receiver.url("hook")})
    make({"name": "crm", "url": receiver.url("hook")})
    ids = announce(tools, "crm", times=40)
    wait_until(lambda: len(rows(tools.catalogue, DELIVERED)) == 40, 40)
    assert sorted(event_ids(receiver, "hook")) == sorted(ids)


def test_endpoints_json_has_no_path_and_no_secret(make: Make, tmp_path: Path) -> None:
    tools = make({"name": "crm", "url": "http://127.0.0.1:9/secret-path", "types": ["media.done"]}, at_work=False)
    with closing(tools.catalogue):
        shown = repr(endpoints_json(tools))
    assert "http://127.0.0.1:9" in shown
    assert "secret-path" not in shown
    assert SECRET not in shown
