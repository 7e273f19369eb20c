"""Adds the extras to a tool of uv: after `uv tool install` of the plain wheel, `esteira start` does the rest.

Only there: the environment of a tool belongs to Esteira alone. In any other one a missing extra is an error.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from pipeline.extras import MissingExtraError, is_uv_tool, require_extra, tool_requirement

COMPLETED = "ESTEIRA_TOOL_COMPLETED"  # environment variable: uv has installed the extras, so that it is not asked again


def ensure_extra(extra: str, what: str) -> None:
    """Returns if an extra is installed. In the environment of a tool of uv, it is installed first, with all others.

    Raises:
        MissingExtraError: it is not installed, or uv cannot install it.
    """
    try:
        require_extra(extra, what)
    except MissingExtraError:
        uv = shutil.which("uv")
        if uv is None or not is_uv_tool() or COMPLETED in os.environ or not _install(uv):
            raise
        os.environ[COMPLETED] = "1"
        os.execv(sys.argv[0], sys.argv)  # noqa: S606  (this program again, with its new packages)


def _install(uv: str) -> bool:
    """Whether uv has installed the extras. It prints its progress and its errors itself."""
    requirement = tool_requirement()
    sys.stderr.write(f"esteira: installing all extras, once: uv tool install '{requirement}'\n")
    python = str(Path(sys.executable).resolve())  # not the one of the environment, which uv may make anew
    command = [uv, "tool", "install", "--python", python, requirement]
    return subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode == 0  # noqa: S603
