"""The sandboxes that decode files, with the limits and the confinement that the settings define."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.media_types import DECODER_MODULES, MEDIA_TYPES, PREVIEW_MODULES
from pipeline.sandbox import Sandbox, confinement

if TYPE_CHECKING:
    from pipeline.config.settings import Settings

PREVIEW_NICE = 10  # previews use CPU time that no attachment needs …
PREVIEW_WALL_FACTOR = 3  # … and so may take three times as long by the clock


def decoding_sandbox(settings: Settings) -> Sandbox:
    """The sandbox of detect and validate."""
    checks = (media_type.check.partition(":")[0] for media_type in MEDIA_TYPES.values())
    return sandbox_from(settings, preload=(*DECODER_MODULES, *checks))


def preview_sandbox(settings: Settings) -> Sandbox:
    """The sandbox of previews. It is separate, so that no attachment waits for a preview."""
    return sandbox_from(settings, preload=PREVIEW_MODULES, wall_factor=PREVIEW_WALL_FACTOR, nice=PREVIEW_NICE)


def sandbox_from(
    settings: Settings,
    *,
    preload: Sequence[str] = (),
    wall_factor: float = 1,
    nice: int = 0,
    processes: int | None = None,
) -> Sandbox:
    """A sandbox with the limits of the settings, for `processes` children instead of SANDBOX_PROCESSES if given.

    Raises:
        SettingsError: SANDBOX_USER is no user, or root.
    """
    return Sandbox(
        processes=processes or settings.sandbox_processes,
        memory_mb=settings.sandbox_memory_mb,
        cpu_s=settings.sandbox_cpu_s,
        wall_s=settings.sandbox_wall_s * wall_factor,
        preload=preload,
        nice=nice,
        terms=confinement(strict=settings.sandbox_confinement == "strict", user=settings.sandbox_user),
    )
