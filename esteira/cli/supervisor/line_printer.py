"""Writes the lines of all parts to stdout, in a thread of its own."""

from __future__ import annotations

import errno
import os
import queue
import select
import sys
import threading
import time
from collections import deque
from datetime import datetime
from itertools import cycle
from typing import IO, NamedTuple

from esteira.cli.supervisor.part_lines import LineFormat

MAX_WAITING = 10_000  # lines; about a minute of the busiest system
MAX_LINE = 64 * 1024  # bytes; a longer line is split
CLOSE_S = 2.0  # for lines that are not written yet at the end
CLOSED = frozenset({errno.EPIPE, errno.EIO, errno.EBADF})  # errors of a stdout that takes no line any more
COLOURS = ("32", "36", "33", "35")  # ANSI codes: green, cyan, yellow, magenta


class Line(NamedTuple):
    """A line that a part wrote, and when."""

    part: str
    text: str
    at: datetime


class LinePrinter:
    """Prints lines without ever holding up the parts that write them.

    While stdout takes no lines (a paused terminal, a pipe without a reader), MAX_WAITING wait and further ones are
    dropped and counted, as are those that do not fit on a full disk. After stdout is closed (`esteira start | head`),
    all are dropped.
    """

    def __init__(self, format_line: LineFormat, *, output: int | None = None) -> None:
        self._format_line = format_line
        self._output = sys.stdout.fileno() if output is None else output
        self._coloured = os.isatty(self._output)
        self._colours = cycle(COLOURS)
        self._colour_of: dict[str, str] = {}
        self._waiting: queue.Queue[Line | None] = queue.Queue(MAX_WAITING)
        self._dropped = 0
        self._is_cut = False  # the last line was written in part
        self._lock = threading.Lock()  # of `_dropped`
        self._followers: list[threading.Thread] = []
        self._writer = threading.Thread(target=self._write_all, name="line printer", daemon=True)
        self._writer.start()

    def print(self, part: str, text: str) -> None:
        """Prints a line, or drops it if too many wait."""
        try:
            self._waiting.put_nowait(Line(part, text, datetime.now()))  # noqa: DTZ005  the local time is shown
        except queue.Full:
            self._add_dropped(1)

    def follow(self, part: str, stream: IO[bytes], *, last_lines: deque[str] | None = None) -> threading.Thread:
        """Prints the lines of a stream until it ends, in a new thread, and adds them to `last_lines`."""
        kept = deque(maxlen=0) if last_lines is None else last_lines
        thread = threading.Thread(target=self._follow, args=(part, stream, kept), name=f"lines of {part}", daemon=True)
        thread.start()
        self._followers = [*filter(threading.Thread.is_alive, self._followers), thread]
        return thread

    def close(self) -> None:
        """Waits at most CLOSE_S for the ends of the streams, and as long until the waiting lines are written."""
        deadline = time.monotonic() + CLOSE_S
        for follower in self._followers:
            follower.join(max(0.0, deadline - time.monotonic()))
        try:
            self._waiting.put(None, timeout=CLOSE_S)
        except queue.Full:
            return
        self._writer.join(CLOSE_S)

    def _follow(self, part: str, stream: IO[bytes], last_lines: deque[str]) -> None:
        with stream:
            while line := stream.readline(MAX_LINE):
                text = line.decode("utf-8", "replace").rstrip("\r\n")
                last_lines.append(text)
                self.print(part, text)

    def _write_all(self) -> None:
        while line := self._waiting.get():
            try:
                if dropped := self._take_dropped():
                    self._write_loss(line, dropped)
                self._write(self._text(line))
            except OSError as error:
                if error.errno in CLOSED:
                    self._output = os.open(os.devnull, os.O_WRONLY)
                else:
                    self._add_dropped(1)

    def _write_loss(self, line: Line, dropped: int) -> None:
        lost = f"{dropped} lines were dropped, because stdout took none"
        try:
            self._write(self._text(Line(line.part, lost, line.at)))
        except OSError:
            self._add_dropped(dropped)
            raise

    def _text(self, line: Line) -> str:
        colour = None
        if self._coloured:
            colour = self._colour_of.get(line.part) or self._colour_of.setdefault(line.part, next(self._colours))
        return self._format_line(line.part, line.text, line.at, colour)

    def _write(self, text: str) -> None:
        whole = (text + "\n").encode("utf-8", "replace")
        data = b"\n" + whole if self._is_cut else whole
        try:
            while data:
                data = data[self._write_some(data) :]
        finally:
            self._is_cut = 0 < len(data) < len(whole) or (self._is_cut and len(data) > len(whole))

    def _write_some(self, data: bytes) -> int:
        try:
            return os.write(self._output, data)
        except BlockingIOError:  # another program has made the terminal or the pipe non-blocking
            select.select([], [self._output], [])
            return 0

    def _add_dropped(self, count: int) -> None:
        with self._lock:
            self._dropped += count

    def _take_dropped(self) -> int:
        with self._lock:
            dropped, self._dropped = self._dropped, 0
        return dropped
