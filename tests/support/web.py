"""The web app in the test's own process, with the settings of a test system."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient

from actors import hook
from actors.redis_queue import queue
from esteira.web.app import build_app
from pipeline import services
from pipeline.config import settings
from tests.support.system import RunningSystem

TOKEN = "a token of the tests"


class AppRoute(NamedTuple):
    """A path, as OpenAPI writes it, with one of its methods in lower case."""

    path: str
    method: str
    described: bool  # in OpenAPI


def app_client(system: RunningSystem, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """A client of an app that reads the settings of this system for the first time."""
    for name, value in system.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("API_TOKEN", TOKEN)
    monkeypatch.setenv("DASHBOARD", "false")
    for cached in (settings.current_settings, services._services_of, hook._hook_of, queue._queue_of):
        cached.cache_clear()
    return TestClient(build_app(settings.current_settings()), headers={"Authorization": f"Bearer {TOKEN}"})


def app_routes(app: Any) -> Iterator[AppRoute]:
    """Every route of an app with each of its methods; mounted apps are left out."""
    for route in iter_route_contexts(app.routes):
        for method in getattr(route, "methods", None) or ():
            yield AppRoute(re.sub(r":\w+}", "}", route.path), method.lower(), route.include_in_schema)
