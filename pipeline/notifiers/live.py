"""Tells the web app, whose Socket.IO clients hear of it at once: the newest events, in a stream in Redis.

The stream is both: what is announced now, and the history for those who come back. See docs/events.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import resources

from pydantic_core import to_json

from pipeline.config.settings import Settings
from pipeline.http_client import HttpClient
from pipeline.models import Outcome
from pipeline.notifiers.redis_publisher import BufferedRedisPublisher, Client

EVENTS_KEY = "{esteira}:events"
EVENT_IDS_KEY = "{esteira}:events:known"
LONGEST_TEXT = 4096  # of what strangers wrote: a thousand events must fit into anybody's Redis


def build(settings: Settings, _outbound: HttpClient) -> BufferedRedisPublisher | None:
    """The history of EVENT_HISTORY events, or None for 0."""
    most = settings.event_history
    return (
        BufferedRedisPublisher(settings.redis, HistoryWriter(most), channel="live", max_waiting=most) if most else None
    )


class HistoryWriter:
    """Events into the history in one round trip; one that stands there already stays where it is."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._script: Callable[..., object] | None = None

    def __call__(self, client: Client, told: Sequence[Outcome]) -> None:
        script = self._script = self._script or client.register_script(
            (resources.files("pipeline.notifiers") / "live.lua").read_text()
        )
        args: list[str | int] = [self._most]
        for one in told:
            args += (one.event_id, event_json(one))
        script(keys=[EVENTS_KEY, EVENT_IDS_KEY], args=args)


def remove_events(client: Client, event_ids: Sequence[str]) -> None:
    """Takes these out of the history, in one round trip; web processes drop what they have read of them.

    Raises:
        redis.RedisError: they stay until EVENT_HISTORY newer ones have come.
    """
    script = (resources.files("pipeline.notifiers") / "forget.lua").read_text()
    client.eval(script, 2, EVENTS_KEY, EVENT_IDS_KEY, *event_ids)


def event_json(told: Outcome) -> str:
    """The event as it is sent to clients, its texts shortened to LONGEST_TEXT characters."""
    if len(told.json) <= LONGEST_TEXT:
        return told.json
    short = {name: value[:LONGEST_TEXT] if isinstance(value, str) else value for name, value in told.payload().items()}
    return to_json(short).decode()
