"""Check of the server that `esteira start` runs if no Redis is configured."""

from __future__ import annotations

from collections.abc import Iterator

from actors.doctor.finding import Finding, fail, ok
from actors.redis_queue.server_program import choose_server
from pipeline.config.settings import Settings
from pipeline.errors import PipelineError

NAME = "embedded server"


def run_checks(settings: Settings) -> Iterator[Finding]:
    """One finding if `esteira start` runs the queue's server, otherwise none."""
    if not settings.embedded:
        return
    try:
        choice = choose_server(settings)
    except PipelineError as error:
        yield fail(NAME, error.message, "install Valkey or Redis 6.2 or later, or set REDIS_URL")
        return
    passed_over = "".join(f"; passed over: {reason}" for reason in choice.passed_over)
    yield ok(NAME, f"`esteira start` runs {choice.program}{passed_over}")
