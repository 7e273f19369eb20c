"""Finds folders and modules that shadow Esteira's packages `actors` and `pipeline`, which keep their top-level names.

Python imports the first `actors` on its path. Started in the folder of a project with one of its own, it finds that.
This module imports nothing of Esteira, because that may be shadowed.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path


class CollisionError(ImportError):
    """Raised when another module has the name of a package of Esteira."""


def require_own(*names: str) -> None:
    """Returns if these packages are the ones of this installation. It imports none of them.

    Raises:
        CollisionError: one of them is another module, which the message names.
    """
    own = Path(__file__).parents[1]
    for name in names:
        spec = find_spec(name)
        file = Path(spec.origin) if spec and spec.origin else None
        if file and not _is_in(file, own / name):
            place = file.parent if file.name == "__init__.py" else file
            fault = f"{place.resolve()} shadows the package `{name}` of Esteira in {own}"
            raise CollisionError(
                f"{fault}: rename it, or start Python elsewhere or with -P, so that it is not found first"
            )


def exit_on_collision(*names: str) -> None:
    """Ends this process with one line on stderr and status 2 where `require_own` raises."""
    try:
        require_own(*names)
    except CollisionError as error:
        sys.stderr.write(f"esteira: {error}\n")
        sys.exit(2)


def _is_in(file: Path, folder: Path) -> bool:
    return file.parent == folder or file.resolve().parent == folder.resolve()
