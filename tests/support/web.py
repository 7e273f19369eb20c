"""The web app in the process of a test, with the settings of a system."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from actors import hook
from actors.redis_queue import queue
from esteira.web.app import build_app
from pipeline import services
from pipeline.config import settings
from tests.support.system import RunningSystem

TOKEN = "a token of the tests"


def app_client(system: RunningSystem, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """A client of an app that has read the settings of this system, and nothing before."""
    for name, value in system.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("API_TOKEN", TOKEN)
    monkeypatch.setenv("DASHBOARD", "false")
    for made_once in (settings.current_settings, services._services_of, hook._hook_of, queue._queue_of):
        made_once.cache_clear()
    return TestClient(build_app(settings.current_settings()), headers={"Authorization": f"Bearer {TOKEN}"})
