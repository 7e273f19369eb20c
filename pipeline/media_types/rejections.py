"""How the checks say that they refuse a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import Code, PermanentError


@contextmanager
def decoding(what: str, *faults: type[Exception]) -> Iterator[None]:
    """Turns what a decoder raises on bad bytes into `broken`. Faults of the system itself pass: they say nothing.

    Raises:
        PermanentError: `broken`.
    """
    try:
        yield
    except PermanentError:
        raise
    except MemoryError:
        raise
    except faults as error:
        if _of_the_system(error):
            raise
        raise broken(f"cannot be read as {what}") from error


def _of_the_system(error: Exception) -> bool:
    """Whether this says nothing of the bytes.

    For bad bytes Pillow and olefile raise OSError without a number, FFmpeg any error of the system, such as EIO; but no
    decoder makes up a missing file.
    """
    by_python = isinstance(error, OSError) and type(error).__module__ == "builtins"
    return isinstance(error, FileNotFoundError) or (by_python and getattr(error, "errno", None) is not None)


def broken(message: str) -> PermanentError:
    """The refusal of bytes that are damaged or lie about themselves."""
    return PermanentError(Code.BROKEN, message)


def check_active(flags: tuple[str, ...], *, refuse: bool) -> None:
    """Refuses active content if the settings want that.

    Raises:
        PermanentError: `active_content`.
    """
    if flags and refuse:
        raise PermanentError(Code.ACTIVE_CONTENT, f"holds active content: {', '.join(flags)}")
