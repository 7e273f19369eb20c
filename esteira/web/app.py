"""The web app: hooks, the HTTP API, live events and the dashboard."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version

import structlog
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from actors.observability import tracing
from actors.observability.logging import configure_observability, warn_about_unknown_settings
from esteira.web.api import (
    audit,
    content,
    controls,
    docs,
    failures,
    media,
    replays,
    results,
    security_txt,
    thumbnail,
    webhooks,
    whoami,
)
from esteira.web.api.downloads import Downloads
from esteira.web.api.health import HealthRoutes
from esteira.web.api.metrics import Metrics
from esteira.web.auth.access import Authenticator
from esteira.web.dashboard.routes import add_dashboard
from esteira.web.errors import ERROR_RESPONSES, add_handlers
from esteira.web.intake.hooks import Hooks
from esteira.web.live import LiveEvents
from esteira.web.server.client_addresses import ClientAddresses
from esteira.web.server.cookies import PlainCookies
from esteira.web.server.cross_origin import CrossOrigin
from esteira.web.server.loop_exceptions import LoopExceptionHandler
from pipeline.config.settings import Settings, current_settings
from pipeline.errors import SettingsError
from pipeline.security.private_dirs import set_private_umask
from pipeline.services import services

log = structlog.get_logger(__name__)


def build_app(settings: Settings) -> FastAPI:
    """The app for these settings. A hook whose secret is not configured answers 401."""
    authenticator = Authenticator(settings)
    hooks = Hooks(settings, authenticator, results)
    metrics = Metrics(authenticator, hooks.ignored)
    live = LiveEvents(settings, authenticator)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        set_private_umask()  # also where another server than `python -m esteira.web` runs the app
        configure_observability(settings)
        warn_about_unknown_settings()
        _warn_about_settings(settings)
        asyncio.get_running_loop().set_exception_handler(LoopExceptionHandler())
        await run_in_threadpool(hooks.prepare)
        await run_in_threadpool(authenticator.access.refresh)
        tasks = [
            asyncio.create_task(run())
            for run in (
                hooks.ignored.flush_periodically,
                metrics.keep_flushing,
                live.publish_events,
                authenticator.access.keep_current,
            )
        ]
        yield
        for task in tasks:
            task.cancel()
        await run_in_threadpool(hooks.close)
        await run_in_threadpool(metrics.flush)
        await run_in_threadpool(authenticator.access.refresh)
        await run_in_threadpool(tracing.stop_tracing)
        services().close()

    app = _new_app(lifespan)
    app.state.settings = settings
    app.state.authenticator = authenticator
    app.state.client_addresses = ClientAddresses(settings.trusted_proxies)
    app.state.bodies = hooks.bodies
    app.state.uploads = hooks.uploads
    app.state.downloads = Downloads(settings)
    app.add_middleware(PlainCookies)
    if settings.socket_origins:
        app.add_middleware(CrossOrigin, origins=settings.socket_origins)
    add_handlers(app)
    hooks.add_routes(app)
    metrics.add_routes(app)
    live.add_routes(app)
    for module in (media, replays, controls, content, thumbnail, failures, webhooks, audit, whoami, docs):
        app.include_router(module.router)
    security_txt.add_route(app, settings)
    app.include_router(HealthRoutes(settings, hooks.ignored).router())
    add_dashboard(app, settings, authenticator, hooks.bodies)
    return app


def _new_app(lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]]) -> FastAPI:
    return FastAPI(
        title="Esteira",
        version=version("esteira"),
        docs_url=None,  # /docs and /openapi.json need a token: see esteira.web.api.docs
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        responses=ERROR_RESPONSES,
    )


def _warn_about_settings(settings: Settings) -> None:
    if settings.allow_unsigned_hooks:
        log.warning("hooks from this machine are accepted without a secret: ALLOW_UNSIGNED_HOOKS is set")
    if settings.dashboard is None and not settings.has_dashboard:
        log.info("no dashboard: it needs a single web process, and WEB_WORKERS is more than 1", setting="DASHBOARD")


def _settings_or_exit() -> Settings:
    try:
        return current_settings()
    except SettingsError as error:
        sys.exit(f"esteira: {error.message}")


app = build_app(_settings_or_exit())
