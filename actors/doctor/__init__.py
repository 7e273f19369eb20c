"""The checks behind `esteira doctor`, one module for each part of an installation."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from actors.doctor import (
    antivirus,
    catalogue,
    decoders,
    embedded_server,
    file_modes,
    gateways,
    intake_spool,
    node_server,
    proxies,
    redis_server,
    sentinels,
    settings,
    storage,
)
from actors.doctor.finding import Finding, Level, fail
from pipeline.config.settings import Settings
from pipeline.errors import PipelineError

CheckGroup = Callable[[Settings], Iterator[Finding]]

CHECK_GROUPS: dict[str, CheckGroup] = {
    "settings": settings.run_checks,
    "embedded server": embedded_server.run_checks,
    "redis": redis_server.run_checks,
    "sentinels": sentinels.run_checks,
    "node server": node_server.run_checks,
    "proxies": proxies.run_checks,
    "catalogue": catalogue.run_checks,
    "intake spool": intake_spool.run_checks,
    "storage": storage.run_checks,
    "files": file_modes.run_checks,
    "decoders": decoders.run_checks,
    "antivirus": antivirus.run_checks,
    "gateways": gateways.run_checks,
}


def run_checks(settings: Settings) -> Iterator[Finding]:
    """Run every check and yield its finding at once. A group that fails does not stop the groups after it."""
    for name, group in CHECK_GROUPS.items():
        try:
            yield from group(settings)
        except PipelineError as error:
            yield fail(name, error.message, "see `esteira settings`")
        except OSError as error:
            yield fail(name, f"check failed: {error.strerror}", "check the permissions of its files and directories")
        except Exception as error:  # noqa: BLE001  (an unexpected error is a finding, and the next group still runs)
            yield fail(name, f"check failed: {type(error).__name__}", "please report this as a bug of Esteira")


__all__ = ["Finding", "Level", "run_checks"]
