"""Notifiers: each announces the result of an attachment. A new one is a module with `build` and its line in NOTIFIERS.

A notifier that can send several results in one call also has a method `publish_all`, which takes a sequence of them.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

from pipeline.config.settings import Settings
from pipeline.http_client import HttpClient
from pipeline.models import Outcome
from pipeline.notifiers import live, log, node_socketio

Notifier = Callable[[Outcome], None]
Build = Callable[[Settings, HttpClient], Notifier | None]

NOTIFIERS: MappingProxyType[str, Build] = MappingProxyType(
    {
        "log": log.build,
        "live": live.build,
        "node_socketio": node_socketio.build,
    }
)


def build_notifiers(settings: Settings, http_client: HttpClient) -> list[Notifier]:
    """The notifiers that the settings enable, in the order of the table.

    Raises:
        SettingsError: the settings of a notifier are invalid.
    """
    notifiers = (build(settings, http_client) for build in NOTIFIERS.values())
    return [notifier for notifier in notifiers if notifier is not None]


__all__ = ["NOTIFIERS", "Notifier", "build_notifiers"]
