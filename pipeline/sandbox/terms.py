"""How children are to be confined, as the parent process decides it, and the error if a child cannot do so."""

from __future__ import annotations

import os
import pwd
import sysconfig
from dataclasses import dataclass

from pipeline.errors import Code, RetryableError, SettingsError

NOBODY = 65534  # user and group of `nobody` on a machine whose list of users does not name it
# Directories with shared libraries and with the fonts that PDFium looks for.
LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache")
FONTS = ("/usr/share/fonts", "/usr/local/share/fonts", "/usr/share/X11/fonts")

LAYERS = {
    "user": "cannot change to the user of SANDBOX_USER",
    "capabilities": "cannot give up its capabilities",
    "memory": "cannot hide its memory",
    "threads": "cannot start a single thread: raise the limit of processes (ulimit -u)",
    "new privileges": "cannot renounce new privileges",
    "landlock": "has no Landlock: use Linux 5.13 or newer with Landlock among its security modules, in a container"
    " runtime that allows it",
    "seccomp": "has no system call filter: use Linux on x86-64 or ARM64 with seccomp",
}


@dataclass(frozen=True)
class Confinement:
    """How a child is confined. `user` is the user and group that a child of root changes to; None for other users.

    `readable` are the directories that a child may read: interpreter, libraries, fonts. `strict`: a child that cannot
    set up a layer does not decode.
    """

    strict: bool
    user: tuple[int, int] | None
    readable: tuple[str, ...]


def confinement(*, strict: bool = True, user: str | None = None) -> Confinement:
    """The confinement for children of this process. `user` is SANDBOX_USER: a name, or `uid` or `uid:gid`.

    Raises:
        SettingsError: there is no such user, or it is root.
    """
    ids = unprivileged_user(user) if os.geteuid() == 0 else None
    code = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return Confinement(strict, ids, tuple(dict.fromkeys([*code, *LIBRARIES, *FONTS])))


def unprivileged_user(user: str | None) -> tuple[int, int]:
    """The ids of the user that children of root change to; those of `nobody` if none is named.

    Raises:
        SettingsError: there is no such user, or it is root.
    """
    uid, _, gid = (user or "").partition(":")
    numeric = uid.isdecimal() and (gid.isdecimal() or not gid)
    ids = (int(uid), int(gid or uid)) if numeric else _ids_of(user)
    if 0 in ids or max(ids) >= 2**32 - 1:
        raise SettingsError("SANDBOX_USER: must be an unprivileged user, not root")
    return ids


def _ids_of(name: str | None) -> tuple[int, int]:
    try:
        entry = pwd.getpwnam(name or "nobody")
    except KeyError:
        if name is None:
            return NOBODY, NOBODY
        raise SettingsError(f"SANDBOX_USER: there is no user {name!r} on this machine") from None
    return entry.pw_uid, entry.pw_gid


def unconfined_error(layer: object, number: object) -> RetryableError:
    """The error of a call whose child could not set up this layer of its confinement."""
    known = isinstance(layer, str) and layer in LAYERS
    reason = LAYERS[layer] if known and isinstance(layer, str) else "cannot be confined"
    why = os.strerror(number) if isinstance(number, int) and 0 < number < 256 else "unknown error"
    message = f"a decoder process {reason} ({why}). SANDBOX_CONFINEMENT=best-effort decodes without it."
    return RetryableError(Code.INTERNAL, message)
