"""A process with secrets whose decoders attack it: `python -m tests.support.attacked_parent FOLDER [OPTION…]`.

Options: `nobody` changes to an unprivileged user first, `no-namespaces` forbids unshare(2) as containers do. Prints one
line of JSON: what each attack gained.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError
from pipeline.sandbox import Sandbox
from pipeline.sandbox.libc import prctl, syscall
from pipeline.sandbox.privileges import CAPABILITY_VERSION, CAPSET
from pipeline.sandbox.seccomp import AUDIT
from tests.support import sandbox_attacks

ATTACKS = "tests.support.sandbox_attacks"
SECRET = "attacked-very-secret"
NOBODY = 65534
DAC_READ_SEARCH = 2  # a capability
FORBIDDEN = {  # system calls that a container or an old kernel may not have, by their numbers
    "unshare": {"x86_64": 272, "aarch64": 97},
    "landlock": {"x86_64": 444, "aarch64": 444},
    "seccomp": {"x86_64": 317, "aarch64": 277},
    "user": {"x86_64": 117, "aarch64": 147},
}


def become_nobody(folder: Path) -> None:
    """Changes to an unprivileged user, who may still read the interpreter if that belongs to root alone."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    prctl(8, 1)  # PR_SET_KEEPCAPS
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    bit = 1 << DAC_READ_SEARCH
    header = ctypes.create_string_buffer(struct.pack("=Ii", CAPABILITY_VERSION, 0))
    sets = ctypes.create_string_buffer(struct.pack("=6I", bit, bit, bit, 0, 0, 0))
    syscall(CAPSET[os.uname().machine], header, sets)
    prctl(47, 2, DAC_READ_SEARCH)  # PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE
    prctl(4, 1)  # PR_SET_DUMPABLE: the change of the user hid the memory of this process


def forbid(name: str) -> None:
    """Makes a system call fail with EPERM in this process and its children."""
    machine = os.uname().machine
    code = b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in (
            *((0x20, 0, 0, 4), (0x15, 1, 0, AUDIT[machine]), (0x06, 0, 0, 0x80000000)),
            *(
                (0x20, 0, 0, 0),
                (0x15, 0, 1, FORBIDDEN[name][machine]),
                (0x06, 0, 0, 0x00050001),
                (0x06, 0, 0, 0x7FFF0000),
            ),
        )
    )
    buffer = ctypes.create_string_buffer(code, len(code))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer)))
    if os.geteuid() != 0:
        prctl(38, 1)  # PR_SET_NO_NEW_PRIVS
    prctl(22, 2, ctypes.addressof(program))  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER


def gained(sandbox: Sandbox, attack: str, **arguments: Any) -> Any:
    try:
        return sandbox.call(f"{ATTACKS}:{attack}", **arguments)
    except PipelineError as error:
        return f"{error.code}: {error.message}"


def main(folder: Path, options: set[str]) -> None:
    os.environ["API_TOKEN"] = SECRET
    names = (".env", "esteira.db", "staging/other")
    for name in names:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(SECRET)
        path.chmod(0o600)
    if "no-namespaces" in options:
        forbid("unshare")
    if "nobody" in options:
        become_nobody(folder)
    datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    datagrams.bind(str(folder / "datagrams"))
    (folder / "datagrams").chmod(0o777)
    victim = subprocess.Popen(["/bin/sleep", "300"])
    sandbox = Sandbox(processes=1, memory_mb=200, cpu_s=20, wall_s=60, preload=[ATTACKS])
    target = {
        "parent": os.getpid(), "victim": victim.pid, "secret": SECRET,
        "files": [str(folder / name) for name in names], "folders": [str(folder), str(folder / "staging")],
        "socket": str(folder / "datagrams"),
    }  # fmt: skip
    results = {attack.__name__: gained(sandbox, attack.__name__, target=target) for attack in sandbox_attacks.ATTACKS}
    results["own_file"] = gained(sandbox, "own_file", file=str(folder / "staging/other"))
    results["threads"] = gained(sandbox, "threads")
    results["much_memory"] = gained(sandbox, "much_memory")
    results["victim"] = victim.poll()
    results["heard"] = select.select([datagrams], [], [], 0.2)[0] != []
    results["files_changed"] = [name for name in names if (folder / name).read_text() != SECRET]
    victim.kill()
    victim.wait()
    sandbox.close()
    sys.stdout.write(json.dumps(results) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), set(sys.argv[2:]))
