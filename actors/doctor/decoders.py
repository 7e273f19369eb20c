"""The decoders in their sandbox: whether they are there, and what holds them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from actors.doctor.finding import Finding, fail, ok, warn
from pipeline.config.settings import Settings
from pipeline.errors import PipelineError
from pipeline.sandbox import Sandbox

INVENTORY = "pipeline.media_types.inventory"
LIBRARIES = {"libmagic": "libmagic", "codecs": "ffmpeg", "pictures": "pillow", "pdf": "pdfium"}
INSTALL = "install Esteira's dependencies anew: `uv sync`"
CONFINE = "run on Linux on x86-64 or ARM64, and give the workers a user of their own"


def run_checks(settings: Settings) -> Iterator[Finding]:
    """Asks a child of the sandbox, for that is where decoders run; one finding alone if none starts."""
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
        return ok("sandbox", "decoders may open no socket, start no program and write nothing (seccomp)")
    return warn("sandbox", "no filter of system calls holds the decoders here", CONFINE)


def check_network(namespace: str) -> Finding:
    if namespace != str(Path("/proc/self/ns/net").readlink()):
        return ok("sandbox network", "decoders live in an empty network namespace")
    remedy = "allow user namespaces (kernel.unprivileged_userns_clone=1), or let a firewall stop the workers' user"
    return warn("sandbox network", "decoders share the network of this machine", remedy)


def check_library(check: str, sandbox: Sandbox, function: str) -> Finding:
    try:
        found = sandbox.call(f"{INVENTORY}:{function}")
    except PipelineError as error:
        return fail(check, f"cannot be loaded: {error.message}", INSTALL)
    if found["missing"]:
        return fail(check, f"{found['version']} is built without {', '.join(found['missing'])}", INSTALL)
    return ok(check, found["version"])
