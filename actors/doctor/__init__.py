"""The examination behind `esteira doctor`: what the belt stands on, part by part."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from actors.doctor import antivirus, belt, catalogue, decoders, node_server, settings, storage
from actors.doctor.finding import Finding, Level, fail
from pipeline.config.settings import Settings
from pipeline.errors import PipelineError

Examination = Callable[[Settings], Iterator[Finding]]

EXAMINATIONS: dict[str, Examination] = {
    "settings": settings.examine,
    "redis": belt.examine,
    "node server": node_server.examine,
    "catalogue": catalogue.examine,
    "storage": storage.examine,
    "decoders": decoders.examine,
    "antivirus": antivirus.examine,
}


def examine(given: Settings) -> Iterator[Finding]:
    """Every finding as soon as it is made. A part that is away costs its own checks, never those of another."""
    for name, examination in EXAMINATIONS.items():
        try:
            yield from examination(given)
        except PipelineError as error:
            yield fail(name, error.message, "see .env.example")
        except OSError as error:
            yield fail(name, f"cannot be examined: {error.strerror}", "check who may read and write there")
        except Exception as error:  # noqa: BLE001  (whatever is broken here is a finding, and the next part is looked at)
            yield fail(name, f"cannot be examined: {type(error).__name__}", "please report this as a fault of Esteira")


__all__ = ["Finding", "Level", "examine"]
