"""Checks of the sentinels that REDIS_URL names: reachable, of one opinion, and enough of them for a failover."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import redis

from actors.doctor.finding import Finding, fail, ok, warn
from pipeline.config.redis_urls import Node, RedisUrl, parse_redis_url
from pipeline.config.settings import Settings
from pipeline.redis_client import sentinel_connections

TIMEOUT_S = 3.0
NAME = "redis sentinels"
MIN_SENTINELS = 3  # of two, a majority is both: the loss of either ends all failovers


def run_checks(settings: Settings) -> Iterator[Finding]:
    """One finding if REDIS_URL names sentinels, otherwise none."""
    url = parse_redis_url(settings.redis)
    if url.kind == "sentinel":
        yield _check(url)


def _check(url: RedisUrl) -> Finding:
    make_connection = sentinel_connections(url)
    states: list[dict[str, str]] = []
    faults: list[str] = []
    for sentinel in url.nodes:
        try:
            states.append(_state(make_connection(sentinel, TIMEOUT_S), url.service))
        except (redis.RedisError, OSError) as error:
            faults.append(_fault(sentinel, url.service, error))
    if not states:
        remedy = "check the addresses and the service in REDIS_URL, and its sentinel_password"
        return fail(NAME, "; ".join(faults), remedy)
    if faults:
        return warn(NAME, "; ".join(faults), "start it, or take it out of REDIS_URL")
    return _check_states(states)


def _check_states(states: list[dict[str, str]]) -> Finding:
    primaries = sorted({f"{state['ip']}:{state['port']}" for state in states})
    if len(primaries) > 1:
        remedy = "wait for the end of a failover, and check that the sentinels reach each other"
        return warn(NAME, f"they name different primaries: {', '.join(primaries)}", remedy)
    sentinels = 1 + min(int(state["num-other-sentinels"]) for state in states)
    replicas = min(int(state["num-slaves"]) for state in states)
    message = f"{sentinels} sentinels watch {primaries[0]} and {replicas} replica{'' if replicas == 1 else 's'}"
    if not replicas:
        return warn(NAME, message, "add a replica: without one nothing can take over")
    if sentinels < MIN_SENTINELS:
        return warn(NAME, message, "run three sentinels on three machines: fewer do not agree after the loss of one")
    return ok(NAME, message)


def _state(connection: Any, service: str) -> dict[str, str]:
    try:
        connection.connect()
        connection.send_command("SENTINEL", "MASTER", service)
        answer = connection.read_response()
    finally:
        connection.disconnect()
    # A map in RESP3, a list of names and values in RESP2.
    items = answer.items() if isinstance(answer, dict) else zip(answer[::2], answer[1::2], strict=False)
    return {_text(name): _text(value) for name, value in items}


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _fault(sentinel: Node, service: str, error: Exception) -> str:
    if isinstance(error, redis.AuthenticationError):
        return f"{sentinel} refuses the login"
    if isinstance(error, redis.ResponseError):
        return f"{sentinel} does not know the service {service}"
    return f"{sentinel} does not answer ({type(error).__name__})"
