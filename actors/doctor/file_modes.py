"""Checks which other users of this machine can read the files of Esteira: database, media, staging, queue, `.env`."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from actors.doctor.finding import Finding, ok, warn
from pipeline.catalogue.health import DatabaseHealth
from pipeline.config.settings import Settings
from pipeline.security.private_dirs import is_shared
from pipeline.storage import LocalStorage, open_storage

CLASSES = {"its group": (stat.S_IRGRP, stat.S_IXGRP), "every user": (stat.S_IROTH, stat.S_IXOTH)}


class ExposedPath(NamedTuple):
    """A file or directory that others can read, and who they are."""

    path: Path
    readers: tuple[str, ...]


def run_checks(settings: Settings) -> Iterator[Finding]:
    """The findings about modes and owners of files on this machine."""
    paths = private_paths(settings)
    yield check_modes(paths)
    yield check_owners(paths)


def private_paths(settings: Settings) -> list[Path]:
    """The files and directories with secrets or content. Missing ones are left out."""
    database = DatabaseHealth(settings.database).file
    storage = open_storage(settings.storage)
    paths = [
        Path(str(settings.model_config["env_file"])).absolute(),
        settings.var_dir.absolute(),
        *(Path(f"{database}{suffix}") for suffix in ("", "-wal", "-shm") if database),
        *([storage.root] if isinstance(storage, LocalStorage) else []),
        settings.staging,
        *([settings.spool_folder] if settings.spool_folder else []),
        *([settings.embedded_socket.parent / "valkey"] if settings.embedded else []),
    ]
    return [path for path in paths if path.exists()]


def check_modes(paths: list[Path]) -> Finding:
    """Check that only their owner can read these paths, or the group that they are shared with on purpose."""
    exposed = [found for path in paths if (found := exposure(path))]
    if not exposed:
        readers = "their owner and the group they are shared with" if any(map(_shared, paths)) else "their owner"
        return ok("file modes", f"only {readers} can read .env, database, media, staging and queue")
    readers = " and ".join(dict.fromkeys(reader for found in exposed for reader in found.readers))
    files = [shlex.quote(str(found.path)) for found in exposed if not found.path.is_dir()]
    folders = [shlex.quote(str(found.path)) for found in exposed if found.path.is_dir()]
    commands = [f"chmod go-rwx {' '.join(files)}"] * bool(files) + [f"chmod -R go-rwx {' '.join(folders)}"] * bool(
        folders
    )
    return warn("file modes", f"{readers} can read {', '.join(files + folders)}", "; ".join(commands))


def exposure(path: Path) -> ExposedPath | None:
    """Who besides the owner can read this path: its mode allows it, and all directories above let them pass."""
    mode = path.stat().st_mode
    readers = [
        name
        for name, (readable, passable) in CLASSES.items()
        if not (name == "its group" and _shared(path))
        and mode & readable
        and all(parent.stat().st_mode & passable for parent in path.resolve().parents)
    ]
    return ExposedPath(path, tuple(readers)) if readers else None


def _shared(path: Path) -> bool:
    """Whether a group may write it on purpose: a directory with mode 2770, or a file in one."""
    return is_shared(path if path.is_dir() else path.parent) and bool(path.stat().st_mode & stat.S_IWGRP)


def check_owners(paths: list[Path]) -> Finding:
    """Check that one user owns all of them: the one that runs Esteira. As root, any single user is right.

    Those that are shared with a group may belong to any user.
    """
    check, own = "file owners", os.geteuid()
    paths = [path for path in paths if not _shared(path)]
    owners = {path: path.stat().st_uid for path in paths}
    expected = own or next((uid for uid in owners.values() if uid), 0)
    foreign = {path: uid for path, uid in owners.items() if uid not in {expected, 0} or (own and uid != own)}
    if not foreign:
        return ok(check, f"all files belong to the user {expected}")
    shown = [shlex.quote(str(path)) for path in foreign]
    users = ", ".join(sorted({str(uid) for uid in foreign.values()}))
    message = f"{', '.join(shown)} belong to the user {users}, who can read them, and not to {expected}"
    return warn(check, message, f"chown -R {expected} {' '.join(shown)}, and run Esteira as one user")
