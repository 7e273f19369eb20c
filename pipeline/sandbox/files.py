"""Opens the files of calls: a child gets descriptors, because it may open no path itself."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import Code, PipelineError, RetryableError, StagingLostError

MAX_FILES = 64  # descriptors that a request may carry; the kernel allows 253
# A staged file is never a link: Esteira creates none.
READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


class Unreadable(NamedTuple):
    """The first path that cannot be opened, by its place in the list, and the error of its call."""

    place: int
    error: PipelineError


def open_files(paths: Sequence[str | None]) -> tuple[list[int], Unreadable | None]:
    """Opens files for reading until one cannot be opened. None is a call without a file."""
    files: list[int] = []
    for index, path in enumerate(paths):
        if path is None:
            continue
        try:
            files.append(os.open(path, READING))
        except FileNotFoundError:
            return files, Unreadable(index, StagingLostError(Path(path).name))
        except OSError as error:
            message = f"cannot read the staged file: {error.strerror}"
            return files, Unreadable(index, RetryableError(Code.STAGING, message))
    return files, None


def close_files(files: Iterable[int]) -> None:
    """Closes descriptors."""
    for file in files:
        os.close(file)
