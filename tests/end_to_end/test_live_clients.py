"""Events reach Socket.IO's own JavaScript clients: those that may see them, all of them, once and in order."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import fields

import pytest
from pydantic import SecretStr

from pipeline.catalogue.user_tokens import UserToken
from pipeline.config.settings import Settings
from pipeline.http_client import HttpClient
from pipeline.models import Outcome
from pipeline.notifiers import live
from pipeline.security.roles import Role
from pipeline.security.scopes import parse_scope
from pipeline.security.tokens import TokenSigner
from pipeline.security.user_tokens import new_token
from tests.support.events import outcome
from tests.support.node import clients
from tests.support.system import RunningSystem, photo
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_until
from tests.support.web_server import TOKEN, WebServer, web_server

WEBSOCKET = {"transports": ["websocket"]}


def url_of(server: WebServer) -> str:
    return f"http://127.0.0.1:{server.port}"


def session_token(settings: Settings, session: str, *, seconds: float = 3600) -> str:
    return TokenSigner(SecretStr(TOKEN)).session_token(session, gateway="media", days=seconds / 86400)


def publisher(settings: Settings) -> Callable[[Outcome], None]:
    """Publishes events as a worker does."""
    publish = live.build(settings, HttpClient())
    assert publish
    return publish


@pytest.fixture
def server(system: RunningSystem) -> Iterator[WebServer]:
    with web_server(system) as running:
        yield running


def test_clients_get_only_the_events_of_their_session(system: RunningSystem, server: WebServer) -> None:
    shop, other = session_token(system.settings, "shop"), session_token(system.settings, "other")
    picture = base64.b64encode(photo()).decode()
    auths = [{"token": TOKEN}, {"token": shop}, {"token": other}]
    with clients(url_of(server), auths, whole=True) as listening, system.workers():
        listening.wait("connect", 3)
        for data, session in ((picture, "shop"), ("AAAA", "shop"), (picture, "other")):
            system.submit(data=data, session=session, kind="image", caption="olá 🎧 <b>")
        listening.wait("event", 6)
        heard = [[told["payload"] for told in listening.what("event", client)] for client in range(3)]
        time.sleep(0.5)
        assert len(listening.what("event")) == 6
    assert sorted((payload["session"], payload["type"]) for payload in heard[0]) == [
        ("other", "media.done"), ("shop", "media.done"), ("shop", "media.rejected"),
    ]  # fmt: skip
    assert sorted(payload["type"] for payload in heard[1]) == ["media.done", "media.rejected"]
    assert {payload["session"] for payload in heard[1]} == {"shop"}
    assert [payload["session"] for payload in heard[2]] == ["other"]
    for payload in heard[0]:
        record = system.record(payload["id"])
        assert (payload["message_id"], payload["caption"]) == (record.message_id, "olá 🎧 <b>")
        assert set(payload) == {part.name for part in fields(Outcome)} - {"source"}


def test_default_client_polls_and_upgrades_to_a_websocket(system: RunningSystem, server: WebServer) -> None:
    with clients(url_of(server), [{"token": TOKEN}]) as listening:
        listening.wait("connect")

        def upgraded() -> bool:
            listening.act("transport")
            told = listening.wait("transport")
            return told[-1]["name"] == "websocket"

        wait_until(upgraded, 10)
        publisher(system.settings)(outcome())
        listening.wait("event")
    with clients(url_of(server), [{"token": TOKEN}], transports=["polling"]) as polling:
        polling.wait("connect")
        publisher(system.settings)(outcome())
        polling.wait("event")


def test_client_without_a_valid_token_is_refused(system: RunningSystem, server: WebServer) -> None:
    expired = session_token(system.settings, "shop", seconds=-10)
    auths = [{}, {"token": "wrong"}, {"token": expired}, {"token": {"$": 1}}, {"token": "ü"}]
    with clients(url_of(server), [*auths, {"token": TOKEN, "since": 5}], **WEBSOCKET) as listening:
        refused = listening.wait("refused", 6)
        publisher(system.settings)(outcome())
        time.sleep(0.5)
        assert not listening.what("connect")
        assert not listening.what("event")
    codes = {told["client"]: told["data"]["code"] for told in refused}
    assert codes == {**dict.fromkeys(range(5), "unauthorized"), 5: "bad_payload"}
    assert expired not in server.log_text()


def test_expired_token_disconnects_only_its_client(system: RunningSystem, server: WebServer) -> None:
    short, long = (session_token(system.settings, "shop", seconds=seconds) for seconds in (3, 300))
    with clients(url_of(server), [{"token": short}, {"token": long}], **WEBSOCKET) as listening:
        listening.wait("connect", 2)
        [ended] = listening.wait("disconnect")
        assert (ended["client"], ended["reason"]) == (0, "io server disconnect")
        told = outcome()
        publisher(system.settings)(told)
        listening.wait("event")
        assert (listening.ids(0), listening.ids(1)) == ([], [told.event_id])


def user_token(system: RunningSystem, name: str, role: Role, *sessions: str) -> str:
    """Adds a user, as a command does; returns the token."""
    new = new_token()
    scope = parse_scope(sessions or ["*"])
    system.services.catalogue.user_tokens.add(UserToken(new.id, name, role, scope, new.secret_hash, 1))
    return new.text


def test_users_get_the_events_of_their_sessions_until_they_are_revoked(
    system: RunningSystem, server: WebServer
) -> None:
    viewer = user_token(system, "ana", Role.VIEWER, "waha:shop-*", "cloud:shop")
    intake, everything = user_token(system, "importer", Role.INTAKE), user_token(system, "bob", Role.OPERATOR)
    with clients(
        url_of(server), [{"token": viewer}, {"token": everything}, {"token": intake}], **WEBSOCKET
    ) as listening:
        listening.wait("connect", 2)
        [refused] = listening.wait("refused")
        assert (refused["client"], refused["data"]["code"]) == (2, "forbidden")
        sessions = [("waha", "shop-1"), ("media", "shop-1"), ("cloud", "shop"), ("waha", "shop"), ("waha", "SHOP-1")]
        told = [outcome(gateway=gateway, session=session) for gateway, session in sessions]
        for one in told:
            publisher(system.settings)(one)
        listening.wait("event", 7)
        assert listening.ids(0) == [told[0].event_id, told[2].event_id]
        assert listening.ids(1) == [one.event_id for one in told]
        system.services.catalogue.user_tokens.revoke("ana")
        [ended] = listening.wait("disconnect")
        assert (ended["client"], ended["reason"]) == (0, "io server disconnect")


def test_reconnecting_clients_get_every_event_once_and_in_order(system: RunningSystem, server: WebServer) -> None:
    publish, shop = publisher(system.settings), session_token(system.settings, "shop")
    sessions = ("shop", "other", "shop", "shop")
    told = [outcome(session=sessions[number % 4]) for number in range(400)]

    def announce() -> None:
        for one in told:
            publish(one)
            time.sleep(0.005)

    with clients(url_of(server), [{"token": TOKEN}, {"token": shop}], **WEBSOCKET) as listening:
        listening.wait("connect", 2)
        announcing = threading.Thread(target=announce)
        announcing.start()
        while announcing.is_alive():
            time.sleep(0.15)
            for client in (0, 1):
                if listening.ids(client):  # before its first event a client has no id to resume from
                    listening.act("drop", client)
        announcing.join()
        expected = [[one.event_id for one in told], [one.event_id for one in told if one.session == "shop"]]
        wait_until(lambda: [listening.ids(client) for client in (0, 1)] == expected, 20)
        assert len(listening.what("disconnect")) > 6


def test_restarted_web_app_sends_missed_events(system: RunningSystem) -> None:
    """F22."""
    publish, told = publisher(system.settings), [outcome() for _ in range(30)]
    with web_server(system) as first, clients(url_of(first), [{"token": TOKEN}] * 20, **WEBSOCKET) as listening:
        listening.wait("connect", 20)
        publish(told[0])
        listening.wait("event", 20)
        first.terminate()
        listening.wait("disconnect", 20)
        for one in told[1:20]:
            publish(one)
        with web_server(system, port=str(first.port)):
            listening.wait("connect", 40)
            for one in told[20:]:
                publish(one)
            expected = [one.event_id for one in told]
            wait_until(lambda: all(listening.ids(client) == expected for client in range(20)), 30)


def test_client_that_missed_too_much_gets_a_gap_event(make_system: Callable[..., RunningSystem]) -> None:
    system = make_system(event_history="20")
    publish = publisher(system.settings)
    told = [outcome() for _ in range(50)]
    for one in told:
        publish(one)
    with web_server(system) as server:
        sinces = [told[10].event_id, told[35].event_id, "never"]
        auths = [{"token": TOKEN, "since": since} for since in sinces]
        with clients(url_of(server), auths, **WEBSOCKET, whole=True) as listening:
            wait_until(lambda: len(listening.what("event")) >= 1 + 14 + 1, 20)
            gaps = [listening.what("event", client)[0] for client in (0, 2)]
            caught_up = [told["payload"]["event_id"] for told in listening.what("event", 1)]
    assert [(gap["name"], gap["payload"]) for gap in gaps] == [
        ("esteira.gap", {"since": sinces[0]}), ("esteira.gap", {"since": "never"}),
    ]  # fmt: skip
    assert caught_up == [one.event_id for one in told[36:]]


def test_several_web_processes_send_all_events_and_refuse_polling(system: RunningSystem) -> None:
    publish = publisher(system.settings)
    with web_server(system, web_workers="2") as server:
        with clients(url_of(server), [{"token": TOKEN}] * 12, **WEBSOCKET) as listening:
            listening.wait("connect", 12)
            told = [outcome() for _ in range(60)]
            for number, one in enumerate(told):
                publish(one)
                if number % 10 == 9:
                    listening.wait("event", client=number % 12)
                    listening.act("drop", number % 12)  # it may reconnect to the other process
            expected = [one.event_id for one in told]
            wait_until(lambda: all(listening.ids(client) == expected for client in range(12)), 20)
        with clients(url_of(server), [{"token": TOKEN}], transports=["polling"]) as polling:
            polling.wait("refused")


def test_events_continue_after_a_redis_outage(own_valkey: ValkeyServer, system: RunningSystem) -> None:
    system = system.with_redis(own_valkey.url)
    publish = publisher(system.settings)
    before, during, after = ([outcome() for _ in range(10)] for _ in range(3))
    with web_server(system) as server, clients(url_of(server), [{"token": TOKEN}], **WEBSOCKET) as listening:
        listening.wait("connect")
        for one in before:
            publish(one)
        listening.wait("event", 10)
        own_valkey.stop()
        began = time.monotonic()
        for one in during:
            publish(one)
        assert time.monotonic() - began < 2  # the first call waits for a moment, the others do not
        own_valkey.start()
        for one in after:
            publish(one)
        wait_until(lambda: len(listening.ids()) == 30, 30)
        assert listening.ids() == [one.event_id for one in [*before, *during, *after]]
        assert "esteira.gap" not in listening.names()
    system.close()


def test_emptied_redis_causes_a_gap_event(own_valkey: ValkeyServer, system: RunningSystem) -> None:
    system = system.with_redis(own_valkey.url)
    publish = publisher(system.settings)
    with web_server(system) as server, clients(url_of(server), [{"token": TOKEN}], **WEBSOCKET) as listening:
        listening.wait("connect")
        publish(outcome())
        listening.wait("event")
        own_valkey.client().flushall()
        told = outcome()
        publish(told)
        wait_until(lambda: told.event_id in listening.ids(), 20)
        assert listening.names() == ["media.done", "esteira.gap", "media.done"]
    system.close()
