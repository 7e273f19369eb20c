"""Paths that may not exist yet."""

from __future__ import annotations

from pathlib import Path


def nearest_existing(path: Path) -> Path:
    """The absolute path, or its nearest existing parent: a directory that is not created yet is on the same disk."""
    path = path.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return path
