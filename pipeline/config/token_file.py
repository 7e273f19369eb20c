"""The API_TOKEN that `esteira start` makes if none is set: a file in VAR_DIR that only its owner can read."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from pipeline.errors import SettingsError

NAME = "api-token"
TOKEN_BYTES = 32
MAX_BYTES = 1024  # of the file that is read


def token_path(var_dir: Path) -> Path:
    """Where the token is kept."""
    return var_dir.absolute() / NAME


def read_token(var_dir: Path) -> str | None:
    """The token in VAR_DIR; None if there is none, or if this user may not read it.

    Raises:
        SettingsError: others may read or replace the file, or it is empty.
    """
    path = token_path(var_dir)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    with open(descriptor, "rb") as file:  # noqa: PTH123  a descriptor has no path
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode) or mode & 0o077:
            raise SettingsError(f"API_TOKEN: others may use {path}: chmod 600 it, or remove it and set API_TOKEN")
        token = file.read(MAX_BYTES).decode("utf-8", "replace").strip()
    if not token:
        raise SettingsError(f"API_TOKEN: {path} is empty: remove it, and `esteira start` makes another one")
    return token


def make_token(var_dir: Path) -> None:
    """Makes the file with a random token, complete from its first moment. An existing one is not changed.

    Raises:
        SettingsError: it cannot be written.
    """
    path = token_path(var_dir)
    new = path.with_name(f".{NAME}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123  a descriptor has no path
            file.write(f"{secrets.token_hex(TOKEN_BYTES)}\n".encode())
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(new)
        except FileExistsError:
            pass
        finally:
            new.unlink()
    except OSError as error:
        raise SettingsError(f"VAR_DIR: cannot write {path}: {error.strerror}: set API_TOKEN") from None
