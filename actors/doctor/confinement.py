"""Checks of the confinement of the decoders: which layers are in force in a real child, in which kernel."""

from __future__ import annotations

import os
import platform
import pwd
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from actors.doctor.finding import Finding, ok, warn
from pipeline.config.settings import Settings
from pipeline.sandbox import Sandbox

STATE = "pipeline.media_types.inventory:confinement"
MANY_THREADS = 64  # a limit above this counts other processes of the user too
NETWORK_REMEDY = "allow user namespaces (kernel.unprivileged_userns_clone=1), or block the workers' user in a firewall"
ROOT_REMEDY = "run Esteira as a user of its own; as root a fault outside of the sandbox reaches the whole machine"
BEST_EFFORT_REMEDY = "unset SANDBOX_CONFINEMENT once the kernel offers every layer"


class State(NamedTuple):
    """The state of a child: layers that failed with their errno, and what /proc/self/status says of it."""

    failed: dict[str, int]
    landlock: int
    network: str
    threads: int
    status: dict[str, str]


def read_state(sandbox: Sandbox) -> State:
    """Asks a new child about its confinement.

    Raises:
        PipelineError: no child starts, or it cannot be confined as the settings demand.
    """
    answer: dict[str, Any] = sandbox.call(STATE)
    status = dict(line.partition(":\t")[::2] for line in answer["status"].splitlines())
    return State(answer["failed"], answer["landlock"], answer["network"], answer["threads"], status)


def check_state(state: State, settings: Settings) -> Iterator[Finding]:
    """All findings about the layers."""
    yield check_layers(state, strict=settings.sandbox_confinement == "strict")
    yield check_files(state)
    yield check_filter(state)
    yield check_network(state.network)
    yield check_user(state)
    yield check_privileges(state)
    yield check_threads(state.threads)


def check_layers(state: State, *, strict: bool) -> Finding:
    kernel = f"Linux {platform.release()} on {platform.machine()}"
    missing = [f"{layer} ({os.strerror(number)})" for layer, number in state.failed.items()]
    if not strict:
        message = f"SANDBOX_CONFINEMENT=best-effort, {kernel}; not in force: {', '.join(missing) or 'nothing'}"
        return warn("sandbox", message, BEST_EFFORT_REMEDY)
    return ok("sandbox", f"every required layer is in force, {kernel}; not in force: {', '.join(missing) or 'nothing'}")


def check_files(state: State) -> Finding:
    if state.landlock:
        return ok("sandbox files", f"decoders read libraries and fonts only (Landlock, version {state.landlock})")
    remedy = "use Linux 5.13 or newer with Landlock among its security modules (lsm=landlock,…)"
    return warn("sandbox files", "decoders can read every file that their user can read", remedy)


def check_filter(state: State) -> Finding:
    # "Seccomp" is 2 also with the filter of a container, which allows sockets and programs.
    if "seccomp" not in state.failed and state.status.get("Seccomp") == "2":
        return ok("sandbox calls", "decoders cannot open sockets, start programs, signal or write (seccomp)")
    return warn("sandbox calls", "system calls of decoders are not filtered", "run on Linux on x86-64 or ARM64")


def check_network(namespace: str) -> Finding:
    with suppress(OSError):
        if namespace != str(Path("/proc/self/ns/net").readlink()):
            return ok("sandbox network", "decoders run in an empty network namespace")
    return warn("sandbox network", "decoders share the network namespace of this machine", NETWORK_REMEDY)


def check_user(state: State) -> Finding:
    uid = int(state.status.get("Uid", "0").split()[0])
    if os.geteuid() != 0:
        return ok("sandbox user", f"Esteira and its decoders run as {_name(os.geteuid())}")
    if uid == 0:
        return warn("sandbox user", "Esteira and its decoders run as root", ROOT_REMEDY)
    return warn("sandbox user", f"Esteira runs as root; decoders change to {_name(uid)}", ROOT_REMEDY)


def check_privileges(state: State) -> Finding:
    sets = {name: int(state.status.get(name, "1"), 16) for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")}
    held = [name for name, value in sets.items() if value and not (name == "CapBnd" and os.geteuid() != 0)]
    if held or state.status.get("NoNewPrivs") != "1":
        message = f"decoders keep privileges: {', '.join(held) or 'new privileges'}"
        return warn("sandbox privileges", message, "see SANDBOX_CONFINEMENT in docs/security.md")
    return ok("sandbox privileges", "decoders have no capabilities and get no new privileges")


def check_threads(limit: int) -> Finding:
    if 0 < limit <= MANY_THREADS:
        return ok("sandbox limits", f"a decoder starts at most {limit} threads, writes no file and no core dump")
    message = (
        "threads of decoders are not limited" if not limit else f"the limit of {limit} threads counts other processes"
    )
    return warn(
        "sandbox limits", message, "allow user namespaces, or set SANDBOX_USER to a user with no other processes"
    )


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
