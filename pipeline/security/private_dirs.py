"""Creates directories with mode 0700, for databases and files that hold media keys, signed URLs and media."""

from __future__ import annotations

from pathlib import Path


def make_private_dir(folder: Path) -> None:
    """Creates a directory and its missing parents with mode 0700. Existing directories are not changed.

    Raises:
        OSError: it cannot be created, or is a file.
    """
    if folder.is_dir():
        return
    make_private_dir(folder.parent)  # mkdir(parents=True) would give the parents the default mode
    folder.mkdir(mode=0o700, exist_ok=True)
