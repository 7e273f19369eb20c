"""Runs functions that read untrusted bytes in child processes with limits, which can reach nothing else.

Guarantees, and what each relies on:

- A crash, a hang or an explosion of memory costs one call its answer and never affects the caller. RLIMIT_AS bounds
  memory above what the child used before the call, RLIMIT_CPU bounds CPU (whole seconds), and the parent's clock bounds
  wall time.
- A starved or stopped machine may delay a result and never changes it: wall time alone refuses no file (see Sandbox).
- A child starts with an empty environment and inherits no secret. It gets its files as open descriptors and may open
  nothing but the interpreter, libraries and fonts (Landlock). The memory of other processes is out of its reach: it has
  no capabilities, the child of root changes to an unprivileged user, and a seccomp filter allows no system call for it.
- The same filter allows no new process, no program, no socket, no signal to others and no change of the filesystem.
  Threads are limited, and the kernel bounds the CPU time and the memory of the whole life of a child.
- What a child says is not believed: a refusal is a reason from a fixed list and numbers (refusals.py), and callers
  validate results.
- A child is killed when its parent ends, by the kernel.
- A child that cannot set all this up does not decode, unless the confinement is not strict (terms.py).

Modules: pool (Sandbox, the public class), slot (one child and its replacement), exchange (requests and answers of one
child), process (its process and connections), files, calls, refusals, terms; child, child_errors, lifetime, confinement
and its layers (privileges, landlock, seccomp with system_calls, libc) run in the child.
"""

from pipeline.sandbox.calls import Call, InvalidAnswerError, StillRunning
from pipeline.sandbox.pool import Sandbox, deaths
from pipeline.sandbox.refusals import Reason, Refusal, parse_refusal
from pipeline.sandbox.terms import Confinement, confinement

__all__ = [
    "Call",
    "Confinement",
    "InvalidAnswerError",
    "Reason",
    "Refusal",
    "Sandbox",
    "StillRunning",
    "confinement",
    "deaths",
    "parse_refusal",
]
