"""The web app: attachments in over HTTP, health and statistics out."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from actors.observability import tracing
from actors.observability.logging import configure_observability, warn_about_unknown_settings
from esteira.web.api.content import Content
from esteira.web.api.controls import Controls
from esteira.web.api.docs import Docs
from esteira.web.api.failures import Failures
from esteira.web.api.health import Health
from esteira.web.api.media import Media
from esteira.web.api.metrics import Metrics
from esteira.web.api.replays import Replays
from esteira.web.api.schema import Schema
from esteira.web.api.thumbnail import Thumbnail
from esteira.web.api.webhooks import Webhooks
from esteira.web.auth.access import Authenticator
from esteira.web.dashboard.routes import add_dashboard
from esteira.web.errors import add_handlers
from esteira.web.intake.hooks import Hooks
from esteira.web.live import Live
from esteira.web.server.connections import LoopExceptionHandler
from pipeline.config.settings import Settings, current_settings
from pipeline.errors import SettingsError
from pipeline.services import services

log = structlog.get_logger(__name__)


def build_app(settings: Settings) -> FastAPI:
    """The app for these settings. A hook whose secret is not set answers 401."""
    authenticator = Authenticator(settings)
    hooks = Hooks(settings, authenticator)
    metrics = Metrics(authenticator, hooks.tally)
    live = Live(settings, authenticator)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        configure_observability(settings)
        warn_about_unknown_settings()
        asyncio.get_running_loop().set_exception_handler(LoopExceptionHandler())
        if settings.allow_unsigned_hooks:
            log.warning("hooks take what comes from this machine without any secret: ALLOW_UNSIGNED_HOOKS is set")
        if settings.dashboard is None and not settings.has_dashboard:
            log.info("no dashboard: WEB_WORKERS is more than 1, and it lives in one process", setting="DASHBOARD")
        await run_in_threadpool(hooks.prepare)
        tasks = [
            asyncio.create_task(keep())
            for keep in (hooks.tally.flush_periodically, metrics.keep_flushing, live.publish_events)
        ]
        yield
        for task in tasks:
            task.cancel()
        await run_in_threadpool(hooks.close)
        await run_in_threadpool(metrics.flush)
        await run_in_threadpool(tracing.stop_tracing)
        services().close()

    app = FastAPI(
        title="Esteira", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False, lifespan=lifespan
    )
    add_handlers(app)
    hooks.add_routes(app)
    Media(authenticator, hooks.bodies).add_routes(app)
    metrics.add_routes(app)
    live.add_routes(app)
    Replays(authenticator, hooks.bodies).add_routes(app)
    Controls(authenticator, hooks.bodies).add_routes(app)
    Content(settings, authenticator).add_routes(app)
    Thumbnail(settings, authenticator).add_routes(app)
    Failures(authenticator).add_routes(app)
    Webhooks(authenticator, hooks.bodies).add_routes(app)
    Health(settings, authenticator, hooks.tally).add_routes(app)
    schema = Schema(app, authenticator)
    schema.add_routes()
    Docs(schema).add_routes(app)
    add_dashboard(app, settings, hooks.bodies)
    return app


def _settings_or_exit() -> Settings:
    try:
        return current_settings()
    except SettingsError as error:
        sys.exit(f"esteira: {error.message}")


app = build_app(_settings_or_exit())
