"""Checks of the decoders and of the sandbox that they run in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from actors.doctor import confinement
from actors.doctor.finding import Finding, fail, ok
from pipeline.config.settings import Settings
from pipeline.errors import PipelineError
from pipeline.extras import install_command, is_installed
from pipeline.media_types.decoding import sandbox_from
from pipeline.media_types.libraries import library_fault
from pipeline.sandbox import Sandbox

INVENTORY = "pipeline.media_types.inventory"
LIBRARIES = {"libmagic": "libmagic", "codecs": "ffmpeg", "pictures": "pillow", "pdf": "pdfium"}  # check: its function
INSTALL = "install Esteira's dependencies again: `uv sync --all-extras`, or `pip install 'esteira[all]'`"
REMEDY = "see SANDBOX_CONFINEMENT in docs/security.md, and check the limits of memory and processes (ulimit -a)"
# A confined child imports nothing. `PIL.features` imports the module of a format when it is asked for it.
MODULES = (INVENTORY, "magic", "av", "PIL.features", "PIL._webp", "PIL._avif", "pillow_heif", "pypdfium2")


def run_checks(settings: Settings) -> Iterator[Finding]:
    """All findings about a sandbox process and the libraries in it, or a single one if no process starts."""
    if not is_installed("worker"):
        yield ok("decoders", f"not installed, so no worker runs here; to add them: {install_command('worker')}")
        return
    with closing(sandbox_from(settings, processes=1, preload=MODULES)) as sandbox:
        try:
            state = confinement.read_state(sandbox)
        except PipelineError as error:
            yield fail("sandbox", error.message, REMEDY)
            return
        yield from confinement.check_state(state, settings)
        for check, function in LIBRARIES.items():
            yield check_library(check, sandbox, function)


def check_library(check: str, sandbox: Sandbox, function: str) -> Finding:
    try:
        library = sandbox.call(f"{INVENTORY}:{function}")
    except PipelineError as error:
        return fail(check, library_fault() or f"cannot be loaded: {error.message}", INSTALL)
    if library["missing"]:
        return fail(check, f"{library['version']} is built without {', '.join(library['missing'])}", INSTALL)
    return ok(check, library["version"])
