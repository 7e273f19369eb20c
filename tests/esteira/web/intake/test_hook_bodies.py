"""Bodies of hooks, from the request to the answer."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import Request
from starlette.responses import Response

from esteira.web.auth.access import HookAccess
from esteira.web.intake.hooks import Hooks
from pipeline.config.settings import load_settings
from pipeline.security.callers import API_TOKEN_CALLER

ALIVE: list[bytes] = []


class _Body(bytes):
    """Bytes that are in ALIVE as long as something refers to them."""

    def __del__(self) -> None:
        ALIVE.clear()


class _Authenticator:
    async def verify_hook(self, *_: object, **__: object) -> HookAccess:
        return HookAccess(API_TOKEN_CALLER)


@asynccontextmanager
async def _read_body(*_: object) -> AsyncIterator[bytes]:
    ALIVE.append(b"a body")
    yield _Body(b'{"session": "s", "message_id": "1", "url": "http://127.0.0.1:9/x"}')


def test_hook_that_waits_does_not_keep_its_body(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    results: Any = None
    authenticator: Any = _Authenticator()
    hooks = Hooks(load_settings(var_dir=tmp_path), authenticator, results)
    accepted = {"accepted": [{"id": "1"}], "ignored": 0}
    monkeypatch.setattr(hooks.bodies, "read_body", _read_body)
    monkeypatch.setattr(hooks._acceptance, "accept", lambda *_, **__: accepted)
    alive_while_waiting: list[list[bytes]] = []

    async def wait(*_: object, **__: object) -> None:
        gc.collect()
        alive_while_waiting.append(list(ALIVE))

    monkeypatch.setattr(hooks._waits, "wait", wait)
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/hooks/media",
        "query_string": b"wait=30",
        "headers": [],
        "path_params": {"gateway": "media"},
    }

    async def answer() -> Response:
        return await hooks.receive(Request(scope))

    assert asyncio.run(answer()).status_code == 202
    assert alive_while_waiting == [[]]
