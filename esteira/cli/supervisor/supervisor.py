"""Runs parts side by side, starts again those that die, replaces them on request, and stops all of them in order."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from types import FrameType, TracebackType
from typing import NamedTuple, Self

from esteira.cli.supervisor.line_printer import LinePrinter
from esteira.cli.supervisor.part import GRACE_S, Part, Running
from esteira.cli.supervisor.requests import Request
from pipeline.config.memory_limit import memory_limit_mb
from pipeline.errors import PipelineError

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOPPED = "`esteira start` is being stopped"  # why a request was not fulfilled
POLL_S = 0.05  # between two looks whether something awaited has happened


class PartEnded(NamedTuple):
    """A process of a part has ended."""

    part: Part
    running: Running


Event = PartEnded | signal.Signals | Request


class Supervisor:
    """Runs parts until a signal to stop. Leaving its block stops all of them, the ones started last first.

    A part that ends by itself is started again, at once, and then after 1 s, 2 s, 4 s and so on, at most half a minute.
    The others are not touched. `say` takes a message of the supervisor and its level.
    """

    def __init__(
        self, printer: LinePrinter, say: Callable[[str, str], object], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.say = say
        self.is_stopping = False
        self._printer = printer
        self._clock = clock
        self._groups: list[Sequence[Part]] = []
        self._requests: list[Request] = []
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.is_stopping = True
        for group in reversed(self._groups):
            _stop([running for part in group for running in part.processes()])
        self._printer.close()

    def start(self, *parts: Part) -> None:
        """Starts parts, which are stopped at the same time, before those that were started earlier."""
        self._groups.append(parts)
        for part in parts:
            self._start(part)

    def run(
        self,
        *parts: Part,
        on_started: Callable[[], object] = lambda: None,
        on_ready: Callable[[], object] = lambda: None,
        on_request: Callable[[Request], object] = lambda _request: None,
        reloads_on_hangup: bool = False,
    ) -> None:
        """Starts parts, and starts again those that die, until the first signal to stop.

        `on_ready` is called when all of them have said that they are ready, `on_request` for each request; SIGHUP is
        one with `reloads_on_hangup`. Further signals do not disturb the stop, except that a second Ctrl-C kills these
        parts at once.
        """
        for number in STOP_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP
                reloads = reloads_on_hangup and number is signal.SIGHUP
                signal.signal(number, self._take_hangup if reloads else self._take_signal)
        self.start(*parts)
        on_started()
        is_ready = False
        while not self.is_stopping:
            if not is_ready and (is_ready := all(part.is_ready() for part in parts)):
                on_ready()
            self._handle(self._next_event(None if is_ready else POLL_S))
            while self._requests and not self.is_stopping:
                on_request(self._requests.pop(0))
        for request in self._requests:
            request.finish(STOPPED)
        signal.signal(signal.SIGINT, lambda _number, _frame: _send(parts, signal.SIGKILL))

    def request(self, request: Request) -> None:
        """Takes a request, from any thread or signal handler."""
        self._events.put(request)  # SimpleQueue.put may be called again in the middle of itself

    def wait(self, until: Callable[[], bool], within_s: float | None = None) -> bool:
        """Goes on supervising until something has happened; returns whether it has.

        It has not after `within_s` seconds, and if the supervisor is to stop.
        """
        deadline = None if within_s is None else self._clock() + within_s
        while not (happened := until()) and not self.is_stopping:
            if deadline is not None and self._clock() >= deadline:
                break
            self._handle(self._next_event(POLL_S))
        return happened

    def launch_other(self, part: Part) -> Running:
        """Starts one more process of a part, which is not started again, and stopped with the part."""
        running = part.launch()
        part.others.append(running)
        self._watch(part, running)
        return running

    def use(self, part: Part, running: Running) -> None:
        """Makes this process the one of its part that is started again if it dies."""
        part.use(running, self._clock())

    def end(self, running: Running) -> None:
        """Ends a process with SIGTERM, and kills it if it has not ended GRACE_S later."""
        running.send(signal.SIGTERM)
        if not self.wait(lambda: running.has_ended, GRACE_S) and not self.is_stopping:
            running.send(signal.SIGKILL)
            self.wait(lambda: running.has_ended)

    def start_again(self, part: Part) -> None:
        """Starts a part again, or plans the next try if the system has no process, memory or file left for it."""
        try:
            self._start(part)
        except (OSError, subprocess.SubprocessError, PipelineError) as error:
            delay_s = part.plan_restart(self._clock())
            self.say(f"{part.name} cannot be started ({error}); it is tried again {_after(delay_s)}", "error")

    def _start(self, part: Part) -> None:
        running = part.launch()
        self.use(part, running)
        self._watch(part, running)

    def _watch(self, part: Part, running: Running) -> None:
        if running.process.stdout is not None:
            self._printer.follow(part.name, running.process.stdout, last_lines=running.last_lines)
        threading.Thread(target=self._await_end, args=(part, running), name=f"end of {part.name}", daemon=True).start()

    def _await_end(self, part: Part, running: Running) -> None:
        with suppress(ChildProcessError):  # `_stop` has reaped it
            # Its id stays reserved until the main thread reaps it.
            os.waitid(os.P_PID, running.process.pid, os.WEXITED | os.WNOWAIT)
        self._events.put(PartEnded(part, running))

    def _handle(self, event: Event | None) -> None:
        match event:
            case signal.Signals():
                self.is_stopping = True
            case PartEnded():
                self._take_end(event.part, event.running)
            case Request():
                self._requests.append(event)
        if not self.is_stopping:
            for part in self._due_parts():
                self.start_again(part)

    def _take_end(self, part: Part, running: Running) -> None:
        status = running.close()
        ending = described(status)
        if running in part.others:
            part.others.remove(running)
        elif running is part.running:
            delay_s = part.plan_restart(self._clock())
            hint = memory_hint(status)
            self.say(f"{part.name} ended by itself ({ending}){hint}; it is started again {_after(delay_s)}", "error")

    def _due_parts(self) -> list[Part]:
        now = self._clock()
        return [part for part in self._parts() if part.due_at is not None and part.due_at <= now]

    def _next_event(self, within_s: float | None = None) -> Event | None:
        """The next event; None if a part is due before there is one, or after `within_s` seconds."""
        waits = [part.due_at - self._clock() for part in self._parts() if part.due_at is not None]
        if within_s is not None:
            waits.append(within_s)
        try:
            return self._events.get(timeout=max(0.0, min(waits)) if waits else None)
        except queue.Empty:
            return None

    def _parts(self) -> Iterator[Part]:
        for group in self._groups:
            yield from group

    def _take_signal(self, number: int, _frame: FrameType | None) -> None:
        self._events.put(signal.Signals(number))

    def _take_hangup(self, _number: int, _frame: FrameType | None) -> None:
        self.request(Request())


def described(status: int) -> str:
    """An exit status in words: `exit status 1`, `killed by SIGKILL`. A shell adds 128 to the number of the signal."""
    number = -status if status < 0 else status - 128
    try:
        return f"killed by {signal.Signals(number).name}" if number > 0 else f"exit status {status}"
    except ValueError:
        return f"exit status {status}"


def memory_hint(status: int) -> str:
    """What SIGKILL often means; nothing for another end."""
    if status not in {-signal.SIGKILL, 128 + signal.SIGKILL}:
        return ""
    limit = memory_limit_mb()
    of_limit = f" (the limit is {limit} MB)" if limit else ""
    return f", which the kernel does when memory runs out{of_limit}"


def _after(delay_s: float) -> str:
    return f"in {delay_s:g} s" if delay_s else "at once"


def _stop(processes: Sequence[Running]) -> None:
    deadline = time.monotonic() + GRACE_S
    for running in processes:
        running.send(signal.SIGTERM)
    for running in processes:
        try:
            running.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            running.send(signal.SIGKILL)
            running.process.wait()


def _send(parts: Sequence[Part], number: signal.Signals) -> None:
    for part in parts:
        for running in part.processes():
            running.send(number)
