"""The examination behind `esteira doctor`: what the belt stands on, part by part."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from actors.doctor import antivirus, catalogue, decoders, node_server, redis_server, settings, storage
from actors.doctor.finding import Finding, Level, fail
from pipeline.config.settings import Settings
from pipeline.errors import PipelineError

CheckGroup = Callable[[Settings], Iterator[Finding]]

CHECK_GROUPS: dict[str, CheckGroup] = {
    "settings": settings.run_checks,
    "redis": redis_server.run_checks,
    "node server": node_server.run_checks,
    "catalogue": catalogue.run_checks,
    "storage": storage.run_checks,
    "decoders": decoders.run_checks,
    "antivirus": antivirus.run_checks,
}


def run_checks(given: Settings) -> Iterator[Finding]:
    """Every finding as soon as it is made. A part that is away costs its own checks, never those of another."""
    for name, examination in CHECK_GROUPS.items():
        try:
            yield from examination(given)
        except PipelineError as error:
            yield fail(name, error.message, "see .env.example")
        except OSError as error:
            yield fail(name, f"cannot be examined: {error.strerror}", "check who may read and write there")
        except Exception as error:  # noqa: BLE001  (whatever is broken here is a finding, and the next part is looked at)
            yield fail(name, f"cannot be examined: {type(error).__name__}", "please report this as a fault of Esteira")


__all__ = ["Finding", "Level", "examine"]
