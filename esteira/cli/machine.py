"""What `esteira start` needs of its machine: folders to write, memory, open files, decoders that can be loaded.

Each check ends the start with one line that names what is missing, instead of a worker that dies again and again.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.catalogue.health import DatabaseHealth
from pipeline.config.memory_limit import (
    LEAST_ADDRESS_MB,
    WORKER_ADDRESS_MB,
    address_space_mb,
    memory_limit_mb,
    needed_mb,
)
from pipeline.config.settings import Settings
from pipeline.errors import SettingsError
from pipeline.extras import is_installed
from pipeline.media_types.libraries import library_fault
from pipeline.security.folder_faults import folder_fault
from pipeline.storage import LocalStorage, open_storage

MIN_OPEN_FILES = 64  # with fewer not even the embedded server starts


def check_limits(workers: int, warn: Callable[[str], object]) -> None:
    """Calls `warn` if the memory is less than needed.

    Raises:
        SettingsError: with half of it nothing would run for long, or too few files may be open, or no worker process
            can reserve its address space.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files < MIN_OPEN_FILES:
        raise SettingsError(f"only {files} files may be open at once: `ulimit -n 1024`, or LimitNOFILE= in systemd")
    _check_address_space(warn)
    limit, needed = memory_limit_mb(), needed_mb(workers)
    if limit is None or limit >= needed:
        return
    text = f"the memory is limited to {limit} MB, and web app and {workers} worker processes need about {needed} MB"
    text += ": raise the limit, or lower WEB_CONCURRENCY"
    if limit < needed_mb(1) // 2:
        raise SettingsError(text)
    warn(text)


def _check_address_space(warn: Callable[[str], object]) -> None:
    """Calls `warn`, or raises SettingsError, if the limit of `ulimit -v` is too low for a worker process."""
    limit = address_space_mb()
    if limit is None or limit >= WORKER_ADDRESS_MB:
        return
    text = f"the address space of a process is limited to {limit} MB (ulimit -v), and a worker process reserves up to "
    text += f"{WORKER_ADDRESS_MB} MB: raise the limit, or `ulimit -v unlimited`"
    if limit < LEAST_ADDRESS_MB:
        raise SettingsError(text)
    warn(text)


def check_folders(settings: Settings) -> None:
    """Raises SettingsError for the first folder that cannot be written."""
    for name, folder in _folders(settings):
        if fault := folder_fault(folder):
            raise SettingsError(f"{name}: {fault}")


def check_decoders() -> None:
    """Raises SettingsError if workers are to run here and a decoder cannot be loaded."""
    if is_installed("worker") and (fault := library_fault()):
        raise SettingsError(fault)


def _folders(settings: Settings) -> Iterator[tuple[str, Path]]:
    yield "VAR_DIR", settings.var_dir.absolute()
    yield "STAGING_DIR", settings.staging
    if file := DatabaseHealth(settings.database).file:
        yield "DATABASE_URL", file.parent
    storage = open_storage(settings.storage)
    if isinstance(storage, LocalStorage):
        yield "STORAGE_URL", storage.root
