"""The wheel and the sdist of this project, and virtual environments in which it is installed with locked packages."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
UV_ENVIRONMENT = {"UV_PYTHON_DOWNLOADS": "never", "UV_SYSTEM_CERTS": "true", "UV_NO_PROGRESS": "1"}


@functools.cache
def uv() -> str:
    """The uv that `scripts/test` uses."""
    return shutil.which("uv") or str(ROOT / ".tools/bin/uv")


def run_uv(*arguments: str | Path, **environment: str) -> str:
    """The output of a uv command that succeeds."""
    done = subprocess.run(
        [uv(), "--quiet", *arguments],
        cwd=ROOT,
        env=os.environ | UV_ENVIRONMENT | environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def locked(*options: str, file: Path) -> Path:
    """Writes the locked packages of an installation with these options of `uv export`, without the project itself."""
    run_uv("export", "--frozen", "--no-emit-project", "--no-header", "--output-file", file, *options)
    return file


def find_python(version: str) -> str | None:
    """An interpreter of this version on this machine, such as `3.13`; None without one."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    candidates = [shutil.which(f"python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python"))]
    for candidate in filter(None, candidates):
        command = [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        found = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        if found.stdout.strip() == version:
            return str(candidate)
    return None


@dataclass(frozen=True)
class Environment:
    """A virtual environment."""

    folder: Path

    @property
    def site_packages(self) -> Path:
        return next(self.folder.glob("lib/python3.*/site-packages"))

    def program(self, name: str) -> str:
        return str(self.folder / "bin" / name)

    def run(self, *command: str, cwd: Path, timeout: float = 60, **settings: str) -> subprocess.CompletedProcess[str]:
        """Runs a program of the environment in a folder, with these settings and none of the tests' own."""
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
        return subprocess.run(
            [self.program(command[0]), *command[1:]],
            cwd=cwd,
            env={"PATH": f"{self.folder / 'bin'}:/usr/bin:/bin", **kept, **settings},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


def new_environment(folder: Path, wheel: Path, requirements: Path, *, python: str = sys.executable) -> Environment:
    """An environment with these packages and the wheel, compiled as pip does it."""
    run_uv("venv", "--python", python, folder)
    options = ("--python", folder, "--no-deps", "--compile-bytecode", "--only-binary", ":all:")
    run_uv("pip", "install", *options, "--requirements", requirements)
    run_uv("pip", "install", *options, wheel)
    return Environment(folder)
