"""How checks refuse a file: decoder errors turned into `broken`, and active content."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import PermanentError
from pipeline.sandbox import Reason, Refusal


@contextmanager
def decoding(form: str, *errors: type[Exception]) -> Iterator[None]:
    """Turns the errors that a decoder raises on bad bytes into `broken`. `form` is one of `refusals.FORMS`.

    Errors of the operating system and MemoryError pass unchanged, because they say nothing about the content.

    Raises:
        PermanentError: `broken`.
    """
    try:
        yield
    except PermanentError:
        raise
    except MemoryError:
        raise
    except errors as error:
        if _is_system_error(error):
            raise
        raise Refusal(Reason.NOT_DECODABLE, form=form) from error


def _is_system_error(error: Exception) -> bool:
    """Whether the error says nothing about the content.

    On bad bytes Pillow and olefile raise OSError without a number, and FFmpeg raises any system error, such as EIO. No
    decoder raises FileNotFoundError because of bad bytes.
    """
    by_python = isinstance(error, OSError) and type(error).__module__ == "builtins"
    return isinstance(error, FileNotFoundError) or (by_python and getattr(error, "errno", None) is not None)


def check_active(flags: tuple[str, ...], *, refuse: bool) -> None:
    """Refuses content with any of these flags if `refuse` is set.

    Raises:
        PermanentError: `active_content`.
    """
    if flags and refuse:
        raise Refusal(Reason.ACTIVE_CONTENT, flags=", ".join(sorted(flags)))
