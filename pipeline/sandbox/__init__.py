"""Functions that read untrusted bytes run here, in child processes with limits on memory, CPU and wall time.

What holds, and by what:

- A crash, a hang or an explosion of memory costs one call its answer, never the caller. Memory is bounded by RLIMIT_AS
  above what the child used before the call, CPU by RLIMIT_CPU (whole seconds), wall time by the parent's own clock.
- A starved or stopped machine may delay a verdict and flips none: time by the clock alone condemns no file (Sandbox).
- A child starts with an environment of its own, so it inherits no secret, and opens no socket: it lives in an empty
  network namespace where the kernel allows that, and a seccomp filter refuses sockets everywhere on x86-64 and ARM64.
- The same filter refuses new processes, new programs, signals to others and every change of the filesystem, so a fork
  bomb does not start. On other machines only RLIMIT_FSIZE and the end of the child's process group after a bad call
  remain.
- A child can still read what its user can read. Whoever needs more than that gives the workers a user of their own.
- A child ends when its parent ends: on the end of its input, and by a signal while it is busy.
"""

from pipeline.sandbox.pool import Call, Sandbox, StillRunning, deaths

__all__ = ["Call", "Sandbox", "StillRunning", "deaths"]
