"""`python -m esteira.cli.parent_guard MODULE …` runs a module and ends it together with its parent process.

The module ends when whoever started it is gone, so a killed `esteira start` leaves no workers behind. What the module
has started ends when the module is gone: a killed master would leave workers that hold its output open, and nobody
would see that it died.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial

from actors.middleware.orphans import end_with_parent

HOLDER = "ESTEIRA_LEASH_HOLDER"  # the process id of whoever started the leash, in its environment


def run(arguments: list[str]) -> int:
    """Runs `python -m` with these arguments to its end; its exit status, 128 and the signal if one killed it.

    To be run in a session of its own, for the rest of the session is ended afterwards.
    """
    holder = os.environ.pop(HOLDER, "")
    end_with_parent(parent=int(holder) if holder.isdecimal() else None)
    child = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", *arguments],
        preexec_fn=partial(end_with_parent, parent=os.getpid()),  # noqa: PLW1509  (this process has one thread)
    )
    for received in (signal.SIGINT, signal.SIGTERM):
        signal.signal(received, lambda number, _: child.send_signal(number))
    code = child.wait()
    if os.getpgrp() == os.getpid():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.killpg(0, signal.SIGTERM)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
