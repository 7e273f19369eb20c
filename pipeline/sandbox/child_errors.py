"""The answer of a child to a call that raised an exception: a reason from refusals.py.

An answer with `replace` asks the parent for a new child, because this one may be damaged.
"""

from __future__ import annotations

import errno
import os
from typing import Any

from pipeline.sandbox.refusals import VOCABULARIES, Reason, Refusal

# What a system call that the confinement refuses ends with. The parent opened the file, so the decoder tried something
# else.
FORBIDDEN = frozenset({errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENOENT})


def error_answer(error: Exception) -> dict[str, Any]:
    """The answer to a call that raised this exception."""
    match error:
        case Refusal():
            return {"refusal": error.answer}
        case ImportError():
            return _and_replace(Refusal(Reason.UNLOADABLE))
        case MemoryError():
            return _and_replace(Refusal(Reason.MEMORY))
        case OSError(errno=int(number)) if number in errno.errorcode and number not in FORBIDDEN:
            return _and_replace(Refusal(Reason.UNREADABLE, error=os.strerror(number)))
    name = type(error).__name__
    known = name in VOCABULARIES["exception"]
    return _and_replace(Refusal(Reason.CRASHED, exception=name if known else "an exception of its own"))


def load_error() -> dict[str, Any]:
    """The answer to a call of a function that cannot be imported: a fault of the installation, not of the file."""
    return {"refusal": Refusal(Reason.UNLOADABLE).answer}


def _and_replace(refusal: Refusal) -> dict[str, Any]:
    return {"refusal": refusal.answer, "replace": True}
