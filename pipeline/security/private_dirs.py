"""The folders of what is nobody else's business: media keys and signed URLs in the catalogue, files on the belt."""

from __future__ import annotations

from pathlib import Path


def make_private_dir(folder: Path) -> None:
    """Makes the folder, and those above it that are missing, for this user alone; one that is there stays as it is.

    Raises:
        OSError: it cannot be made, or is a file.
    """
    if folder.is_dir():
        return
    make_private_dir(folder.parent)  # mkdir(parents=True) would let everybody into the ones above
    folder.mkdir(mode=0o700, exist_ok=True)
