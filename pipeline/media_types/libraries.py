"""Whether the libraries of the decoders can be loaded on this machine."""

from __future__ import annotations

import subprocess
import sys

# The modules that load a library of the system or of their wheel, in the order of their weight.
MODULES = ("magic", "pypdfium2", "PIL.Image", "pillow_heif", "av")
LOAD_S = 60.0
REMEDY = (
    "install the system library that it names (libmagic: `apt-get install libmagic1`), "
    "or Esteira's dependencies again: `pip install 'esteira[all]'`; a wheel needs glibc 2.28, so not Alpine"
)


def library_fault(modules: tuple[str, ...] = MODULES) -> str | None:
    """The first library that cannot be loaded, why, and what to do; None if all can. Takes half a second.

    It runs in a process of its own: the libraries take 60 MB, and a broken one may kill the process that loads it.
    """
    code = f"import importlib\nfor name in {modules!r}:\n    print(name, flush=True)\n    importlib.import_module(name)"
    try:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-c", code], capture_output=True, text=True, errors="replace", timeout=LOAD_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"the decoders cannot be loaded ({type(error).__name__})"
    if not done.returncode:
        return None
    name = next(iter(done.stdout.split()[-1:]), "the first")
    lines = done.stderr.strip().splitlines()
    reason = lines[-1][:300] if lines else f"the process ended with status {done.returncode}"
    return f"the decoder {name} cannot be loaded ({reason}): {REMEDY}"
