"""Sends results to the web app, which forwards them to its Socket.IO clients.

The newest events are kept in a Redis stream. It carries new events to the web processes, and it is the history for
clients that reconnect. See docs/events.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import resources

from pydantic_core import to_json

from pipeline.config.settings import Settings
from pipeline.http_client import HttpClient
from pipeline.models import Outcome
from pipeline.notifiers.redis_publisher import BufferedRedisPublisher, Client

EVENTS_KEY = "{esteira}:events"  # the stream, and the Pub/Sub channel
EVENT_IDS_KEY = "{esteira}:events:known"  # hash: event id -> entry id in the stream
MAX_TEXT_LENGTH = 4096  # characters of a sender's text, so that a thousand events fit into any Redis


def build(settings: Settings, _http_client: HttpClient) -> BufferedRedisPublisher | None:
    """A publisher with a history of EVENT_HISTORY events; None for 0."""
    size = settings.event_history
    return (
        BufferedRedisPublisher(settings.redis, HistoryWriter(size), channel="live", max_waiting=size) if size else None
    )


class HistoryWriter:
    """Appends events to the history in one round trip. An event that is already in it is not appended again."""

    def __init__(self, history_size: int) -> None:
        self._history_size = history_size
        self._script: Callable[..., object] | None = None

    def __call__(self, client: Client, outcomes: Sequence[Outcome]) -> None:
        script = self._script = self._script or client.register_script(
            (resources.files("pipeline.notifiers") / "live.lua").read_text()
        )
        args: list[str | int] = [self._history_size]
        for outcome in outcomes:
            args += (outcome.event_id, event_json(outcome))
        script(keys=[EVENTS_KEY, EVENT_IDS_KEY], args=args)


def remove_events(client: Client, event_ids: Sequence[str]) -> None:
    """Removes events from the history in one round trip; web processes also drop their copies.

    Raises:
        redis.RedisError: the events stay until EVENT_HISTORY newer ones have been added.
    """
    script = (resources.files("pipeline.notifiers") / "forget.lua").read_text()
    client.eval(script, 2, EVENTS_KEY, EVENT_IDS_KEY, *event_ids)


def event_json(outcome: Outcome) -> str:
    """The event as clients receive it, with texts cut to MAX_TEXT_LENGTH characters."""
    if len(outcome.json) <= MAX_TEXT_LENGTH:
        return outcome.json
    payload = outcome.payload().items()
    return to_json(
        {name: value[:MAX_TEXT_LENGTH] if isinstance(value, str) else value for name, value in payload}
    ).decode()
