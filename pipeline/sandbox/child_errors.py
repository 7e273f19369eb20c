"""The error answer of a child, by the exception that a function raised in it.

An answer with `replace` asks the parent for a new child, because this one may be damaged.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

from pipeline.errors import Code, PipelineError, RetryableError


def error_answer(error: Exception) -> dict[str, Any]:
    """The answer to a call that raised this exception."""
    match error:
        case PipelineError():
            permanence = "retryable" if isinstance(error, RetryableError) else "permanent"
            return _answer(permanence, error.code, error.message)
        case MemoryError():
            return _and_replace("permanent", Code.TOO_COSTLY, "takes more memory than is allowed")
        case FileNotFoundError():
            return _and_replace("lost", Code.STAGING_LOST, Path(str(error.filename or "")).name)
        case OSError():
            return _system_error(error)
    return _crash(error)


def load_error(name: str) -> dict[str, Any]:
    """The answer to a call of a function that cannot be imported: a fault of the installation, not of the file."""
    return _answer("retryable", Code.INTERNAL, f"{name} cannot be loaded")


def _system_error(error: OSError) -> dict[str, Any]:
    """The file could not be read, which says nothing about its content, or the decoder tried something forbidden."""
    if error.errno is None or error.errno == errno.EPERM:
        return _crash(error)
    return _and_replace("retryable", Code.STAGING, f"cannot read the staged file: {error.strerror}")


def _crash(error: Exception) -> dict[str, Any]:
    return _and_replace("permanent", Code.DECODER_CRASH, f"the decoder failed with {type(error).__name__}")


def _and_replace(permanence: str, code: Code, message: str) -> dict[str, Any]:
    return _answer(permanence, code, message) | {"replace": True}


def _answer(permanence: str, code: Code, message: str) -> dict[str, Any]:
    return {"error": {"permanence": permanence, "code": code, "message": message}}
