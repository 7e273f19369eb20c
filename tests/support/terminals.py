"""A pseudo-terminal of a given width that keeps what is written to it."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
import threading

HEIGHT = 40  # rows


class Terminal:
    """A pseudo-terminal. `path` is the device for a process to open; `close` returns what was written to it."""

    def __init__(self, *, width: int) -> None:
        self._master, self._slave = pty.openpty()
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, width, 0, 0))
        self.path = os.ttyname(self._slave)
        self._written = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def text(self) -> str:
        """What was written so far, with plain line feeds."""
        return self._written.decode(errors="replace").replace("\r\n", "\n")

    def close(self) -> str:
        """Waits until everything was read; returns it with plain line feeds."""
        os.close(self._slave)
        self._reader.join(10)
        os.close(self._master)
        return self.text

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65_536)
            except OSError:  # EIO: no process has the terminal open any more
                return
            if not data:
                return
            self._written += data
