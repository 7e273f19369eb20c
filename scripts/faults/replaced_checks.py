"""Replaces the checks of media types in a worker process, for the entry points `poisoned` and `attacked`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pipeline.media_types import MEDIA_TYPES


def replace_checks(module: str, functions: Mapping[str, str]) -> None:
    """Lets functions of `module` check these media types. It must be called before `actors.stages` is imported.

    Sandbox, verdicts and queue are unchanged.
    """
    for name, function in functions.items():
        MEDIA_TYPES[name] = replace(MEDIA_TYPES[name], check=f"{module}:{function}")
