"""Checks of the decoders and of the sandbox that they run in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from actors.doctor.finding import Finding, fail, ok, warn
from pipeline.config.settings import Settings
from pipeline.errors import PipelineError
from pipeline.sandbox import Sandbox

INVENTORY = "pipeline.media_types.inventory"
LIBRARIES = {"libmagic": "libmagic", "codecs": "ffmpeg", "pictures": "pillow", "pdf": "pdfium"}  # check: its function
INSTALL = "install Esteira's dependencies again: `uv sync`"
CONFINE = "run on Linux on x86-64 or ARM64, and run the workers as a user of their own"


def run_checks(settings: Settings) -> Iterator[Finding]:
    """All findings about a sandbox process and the libraries in it, or a single one if no process starts."""
    sandbox = Sandbox(
        processes=1,
        memory_mb=settings.sandbox_memory_mb,
        cpu_s=settings.sandbox_cpu_s,
        wall_s=settings.sandbox_wall_s,
    )
    with closing(sandbox):
        try:
            confinement = sandbox.call(f"{INVENTORY}:confinement")
        except PipelineError as error:
            yield fail("sandbox", error.message, "check the limits of memory and processes (ulimit -a)")
            return
        yield check_filter(confinement["filtered"])
        yield check_network(confinement["network"])
        for check, function in LIBRARIES.items():
            yield check_library(check, sandbox, function)


def check_filter(filtered: bool) -> Finding:
    if filtered:
        return ok("sandbox", "decoders cannot open sockets, start programs or write files (seccomp)")
    return warn("sandbox", "system calls of decoders are not filtered on this machine", CONFINE)


def check_network(namespace: str) -> Finding:
    if namespace != str(Path("/proc/self/ns/net").readlink()):
        return ok("sandbox network", "decoders run in an empty network namespace")
    remedy = "allow user namespaces (kernel.unprivileged_userns_clone=1), or block the workers' user in a firewall"
    return warn("sandbox network", "decoders share the network of this machine", remedy)


def check_library(check: str, sandbox: Sandbox, function: str) -> Finding:
    try:
        library = sandbox.call(f"{INVENTORY}:{function}")
    except PipelineError as error:
        return fail(check, f"cannot be loaded: {error.message}", INSTALL)
    if library["missing"]:
        return fail(check, f"{library['version']} is built without {', '.join(library['missing'])}", INSTALL)
    return ok(check, library["version"])
