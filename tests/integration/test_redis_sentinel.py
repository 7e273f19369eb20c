"""A primary that fails is replaced by its replica: all processes follow within seconds, and nothing is lost.

The servers and their three sentinels are shared by the tests of this file, so each test asks which server is the
primary. The periodic requeue scan is set to wait for ten minutes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis

from actors.doctor.sentinels import run_checks
from actors.redis_queue.queue import QUICK_TIMEOUT_S
from esteira.web.live.feed import Event, EventFeed
from pipeline.config.redis_urls import parse_redis_url
from pipeline.config.settings import load_settings
from pipeline.models import Status
from pipeline.redis_client import connect
from pipeline.redis_client.client import make_locator
from tests.support.esteira import new_installation, start_esteira
from tests.support.media_server import MediaServer
from tests.support.system import RunningSystem, photo
from tests.support.valkey import free_port
from tests.support.valkey_groups import PASSWORD, SENTINEL_PASSWORD, SERVICE, Sentinels, running
from tests.support.waiting import wait_until

SETTINGS = {"SWEEP_AFTER_S": "600", "MEDIA_BACKOFF_MS": "50", "FALLBACK": "spool"}


@pytest.fixture(scope="module")
def sentinels() -> Iterator[Sentinels]:
    with running(Sentinels) as made:
        yield made


@pytest.fixture
def system(sentinels: Sentinels, tmp_path: Path) -> Iterator[RunningSystem]:
    made = RunningSystem(tmp_path, sentinels.url, SETTINGS)
    yield made
    made.close()


def replicas_are_connected(sentinels: Sentinels) -> bool:
    return sentinels.primary.client().info("replication")["connected_slaves"] == 1


def is_ready(port: str) -> bool:
    """Whether the web app answers, with Redis and catalogue."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=10).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.slow
def test_killed_primary_is_followed_by_all_processes_and_nothing_is_lost(sentinels: Sentinels) -> None:
    port = str(free_port())
    with (
        new_installation(REDIS_URL=sentinels.url, PORT=port, WEB_CONCURRENCY="1", **SETTINGS) as installation,
        MediaServer({f"{number}.jpg": photo() for number in range(60)}) as media,
        start_esteira(installation) as started,
    ):
        wait_until(lambda: is_ready(port), 60)
        bot = RunningSystem(installation.folder, sentinels.url, SETTINGS)
        names = iter(media.files)
        before = [bot.submit(url=media.url(next(names))) for _ in range(20)]
        killed = sentinels.primary
        killed.kill()
        during = [bot.submit(url=media.url(next(names))) for _ in range(20)]
        wait_until(lambda: not bot.hook.breaker.is_open, 20)
        after = [bot.submit(url=media.url(next(names))) for _ in range(20)]
        records = bot.wait_finished(*(receipt.id for receipt in (*before, *during, *after)), within_s=30)
        wait_until(lambda: is_ready(port), 10)
        bot.close()
        assert {receipt.mode for receipt in before} == {"queued"}
        assert {receipt.mode for receipt in during} == {"spooled"}
        assert {receipt.mode for receipt in after} == {"queued"}
        assert {record.status for record in records} == {Status.DONE}
        assert started.process.poll() is None
        assert not [word for word in (PASSWORD, SENTINEL_PASSWORD) if word in started.output()]
    killed.start()  # the sentinels make it the replica
    wait_until(lambda: replicas_are_connected(sentinels), 20)


def test_switch_while_the_primary_lives_is_followed(sentinels: Sentinels, system: RunningSystem) -> None:
    wait_until(lambda: replicas_are_connected(sentinels), 20)
    delivered: list[str] = []

    async def deliver(event: Event) -> None:
        delivered.append(event.event_id)

    async def on_gap() -> None:
        return

    feed = EventFeed(sentinels.url, max_events=10, deliver=deliver, on_gap=on_gap)
    old = sentinels.primary

    async def switch() -> None:
        task = asyncio.create_task(feed.run())
        await asyncio.wait_for(feed.ready.wait(), 10)
        assert system.submit(url="https://media.example/a.jpg").mode == "queued"
        await asyncio.to_thread(_switch, sentinels)
        # For some seconds the old primary does not know of the new one, and takes messages that the new one lacks.
        assert system.submit(url="https://media.example/b.jpg").mode == "queued"
        entry = {"event": '{"event_id": "e1", "type": "t", "session": "s", "gateway": "g"}'}
        sentinels.primary.client().xadd("{esteira}:events", entry)
        await asyncio.wait_for(_until(delivered), 20)
        task.cancel()
        await feed.close()

    asyncio.run(switch())
    assert sentinels.primary is not old
    wait_until(lambda: not system.hook.breaker.is_open, 10)
    wait_until(lambda: system.submit(url="https://media.example/c.jpg").mode == "queued", 10)
    unfinished = system.services.catalogue.unfinished(older_than_s=0)
    wait_until(lambda: system.queue.find_missing(unfinished) == [], 10)
    assert delivered == ["e1"]


def _switch(sentinels: Sentinels) -> None:
    old = sentinels.primary
    sentinels.sentinel().execute_command("SENTINEL", "FAILOVER", SERVICE)
    wait_until(lambda: sentinels.primary is not old, 20)


async def _until(items: list[str]) -> None:
    while not items:
        await asyncio.sleep(0.02)


def test_sentinel_that_is_away_delays_no_connection_beyond_its_timeout(sentinels: Sentinels) -> None:
    nodes = ",".join(f"127.0.0.1:{port}" for port in (free_port(), free_port(), *sentinels.ports))
    login = f"sentinel_password={SENTINEL_PASSWORD}"
    with connect(f"redis+sentinel://:{PASSWORD}@{nodes}/{SERVICE}?{login}", timeout_s=QUICK_TIMEOUT_S) as client:
        assert client.role()[0] == b"master"


@pytest.mark.parametrize(
    ("service", "password", "reason"),
    [("elsewhere", SENTINEL_PASSWORD, "does not know"), (SERVICE, "wrong-word", "refuses the login")],
)
def test_wrong_service_or_password_is_named(sentinels: Sentinels, service: str, password: str, reason: str) -> None:
    url = f"redis+sentinel://:{PASSWORD}@127.0.0.1:{sentinels.ports[0]}/{service}?sentinel_password={password}"
    with connect(url, timeout_s=2) as client, pytest.raises(redis.ConnectionError) as raised:
        client.ping()
    assert f"no sentinel names the primary of {service}" in str(raised.value)
    [finding] = run_checks(load_settings(_env_file=None, redis_url=url))
    assert (finding.level, reason in finding.message) == ("fail", True)
    assert password not in finding.message + str(raised.value)


def test_doctor_names_the_sentinels(sentinels: Sentinels) -> None:
    wait_until(lambda: replicas_are_connected(sentinels), 20)
    [finding] = run_checks(load_settings(_env_file=None, redis_url=sentinels.url))
    assert (finding.level, finding.message) == (
        "ok",
        f"3 sentinels watch 127.0.0.1:{sentinels.primary.port} and 1 replica",
    )
    away = sentinels.url.replace(f":{sentinels.ports[0]}", f":{free_port()}")
    [finding] = run_checks(load_settings(_env_file=None, redis_url=away))
    assert finding.level == "warn"
    assert list(run_checks(load_settings(_env_file=None, redis_url="redis://127.0.0.1"))) == []


def test_last_known_primary_is_used_while_no_sentinel_answers(sentinels: Sentinels) -> None:  # the last test
    locator = make_locator(parse_redis_url(sentinels.url), timeout_s=1)
    known = locator.locate()
    sentinels.stop_sentinels()
    assert locator.locate() == known
