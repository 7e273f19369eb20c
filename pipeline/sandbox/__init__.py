"""Runs functions that read untrusted bytes in child processes with limits on memory, CPU and wall time.

Guarantees, and what each relies on:

- A crash, a hang or an explosion of memory costs one call its answer and never affects the caller. RLIMIT_AS bounds
  memory above what the child used before the call, RLIMIT_CPU bounds CPU (whole seconds), and the parent's clock bounds
  wall time.
- A starved or stopped machine may delay a result and never changes it: wall time alone refuses no file (see Sandbox).
- A child starts with an environment of its own, so it inherits no secret. It opens no socket: it runs in an empty
  network namespace if the kernel allows that, and a seccomp filter refuses sockets on x86-64 and ARM64.
- The same filter refuses new processes, new programs, signals to others and every change of the filesystem, so a fork
  bomb does not start. On other machines only RLIMIT_FSIZE applies, and a child's process group is killed after a bad
  call.
- A child can still read what its user can read. To restrict that, run the workers as a user of their own.
- A child ends when its parent ends: on the end of its input, or by a signal while it is busy.

Modules: pool (Sandbox, the public class), slot (one child and its replacement), exchange (requests and answers of one
child), process (its process and pipes); child, child_errors and confinement run in the child.
"""

from pipeline.sandbox.calls import Call, StillRunning
from pipeline.sandbox.pool import Sandbox, deaths

__all__ = ["Call", "Sandbox", "StillRunning", "deaths"]
