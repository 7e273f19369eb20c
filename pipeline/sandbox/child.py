"""The program of a child process: reads requests from standard input and answers each of their calls.

A request is one line: the arguments that all its calls share as JSON, a tab, and a JSON list of the calls, each of them
`["module:function", {…its own arguments…}]`. An answer is one line: `{"result": …}` or `{"error": {…}}`; with
`"replace": true` in addition it asks the parent for a new child. The last answer of a request goes to standard output,
which the parent waits for, the answers before it to the pipe `early`. `null` instead of the last answer means that the
remaining calls were not begun: the child wants to be replaced, or the parent has interrupted the request by writing
another line.
"""

from __future__ import annotations

import gc
import importlib
import json
import math
import os
import resource
import select
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.sandbox import confinement
from pipeline.sandbox.child_errors import error_answer, load_error

MANY_OPEN_FILES = confinement.MAX_OPEN_FILES // 2  # a child with more is replaced before it runs out
INTERRUPTED = b"null\n"
PAGE_BYTES = resource.getpagesize()


@dataclass(frozen=True)
class Configuration:
    """The parent's settings for a child. `lifeline` and `early` are file descriptors."""

    memory_bytes: int
    cpu_s: int
    lifeline: int
    early: int
    preload: list[str]
    nice: int = 0


def main(configuration: str) -> None:
    """Answers requests until standard input ends."""
    config = Configuration(**json.loads(configuration))
    answers = os.dup(1)
    os.dup2(2, 1)  # output of a library must not get into the answers
    confinement.restore_signals()
    confinement.die_with_parent(config.lifeline)
    os.nice(config.nice)
    confinement.leave_network()
    for module in config.preload:
        importlib.import_module(module)
    confinement.limit_resources()
    confinement.refuse_system_calls()
    gc.collect()
    gc.freeze()
    _serve(config, answers)


def _serve(config: Configuration, answers: int) -> None:
    server = _Server(config, answers)
    os.write(answers, b"\n")
    for request in _requests():
        server.answer(request)


def _requests() -> Iterator[bytes]:
    buffer = b""
    while chunk := os.read(0, 65536):
        buffer += chunk
        if chunk.endswith(b"\n"):
            yield from filter(None, buffer.split(b"\n"))  # an empty line interrupted a request that had ended already
            buffer = b""


class _Server:
    """Answers requests, with limits on the memory and CPU of each call."""

    def __init__(self, config: Configuration, answers: int) -> None:
        self._config, self._answers = config, answers
        self._statm = os.open("/proc/self/statm", os.O_RDONLY)
        self._functions: dict[str, Callable[..., Any] | None] = {}
        self._input = select.poll()
        self._input.register(0, select.POLLIN)
        self._shared_text, self._shared = b"", dict[str, Any]()
        self._cpu_limit = 0
        self._space_limit = 0
        self._space_at_start = self._space = self._address_space()

    def answer(self, request: bytes) -> None:
        """Answers the calls of a request. Stops if the parent writes or is gone, or if this child must be replaced."""
        shared, _, text = request.partition(b"\t")
        if shared != self._shared_text:
            self._shared_text, self._shared = shared, json.loads(shared)
        calls = json.loads(text)
        last = len(calls) - 1
        for at, (name, arguments) in enumerate(calls):
            if at and self._input.poll(0):
                os.write(self._answers, INTERRUPTED)
                return
            self._load(name)
            answer, replace = self._call(name, arguments)
            self._space = self._address_space()
            # Memory that stays allocated between calls is a leak. A new child costs less than a limit that grows.
            if not replace and self._space - self._space_at_start > self._config.memory_bytes // 2:
                answer, replace = b'{"replace": true, ' + answer[1:], True
            _write(self._answers if at == last else self._config.early, answer + b"\n")
            if replace and at < last:
                os.write(self._answers, INTERRUPTED)
                return

    def _load(self, name: str) -> None:
        """Imports the function if it is new. The address space that this takes does not count as a leak."""
        if name in self._functions:
            return
        before = self._address_space()
        module, _, attribute = name.partition(":")
        self._lift_memory_limit()
        try:
            self._functions[name] = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError):
            self._functions[name] = None
        self._space = self._address_space()
        self._space_at_start += self._space - before

    def _call(self, name: str, arguments: dict[str, Any]) -> tuple[bytes, bool]:
        """The answer, and whether it asks for a new child."""
        function = self._functions[name]
        if function is None:
            return json.dumps(load_error(name)).encode(), False
        self._set_limits()
        try:
            return json.dumps({"result": function(**self._shared, **arguments)}).encode(), False
        except Exception as error:  # noqa: BLE001 -- the edge of the process: any exception of a decoder is its crash
            self._lift_memory_limit()  # the error answer needs memory too
            answer = error_answer(error)
            return json.dumps(answer).encode(), "replace" in answer

    def _set_limits(self) -> None:
        """Limits the next call to the configured memory and CPU time beyond what this process has used so far."""
        cpu_s = math.ceil(time.process_time()) + self._config.cpu_s
        if cpu_s != self._cpu_limit:
            _set_soft_limit(resource.RLIMIT_CPU, cpu_s)
            self._cpu_limit = cpu_s
        space = min(self._space + self._config.memory_bytes, sys.maxsize)
        if space != self._space_limit:
            _set_soft_limit(resource.RLIMIT_AS, space)
            self._space_limit = space

    def _lift_memory_limit(self) -> None:
        _set_soft_limit(resource.RLIMIT_AS, resource.RLIM_INFINITY)
        self._space_limit = 0

    def _address_space(self) -> int:
        """Bytes of address space; sys.maxsize if calls have leaked open files, so that this child is replaced."""
        try:
            number = os.dup(0)
        except OSError:  # no file descriptor is left
            return sys.maxsize
        os.close(number)
        if number >= MANY_OPEN_FILES:  # the kernel uses the lowest free number, so all below it are taken
            return sys.maxsize
        return int(os.pread(self._statm, 64, 0).split(b" ", 1)[0]) * PAGE_BYTES


def _write(file: int, text: bytes) -> None:
    while text:
        text = text[os.write(file, text) :]


def _set_soft_limit(limit: int, value: int) -> None:
    hard = resource.getrlimit(limit)[1]
    if hard != resource.RLIM_INFINITY and (value == resource.RLIM_INFINITY or value > hard):
        value = hard
    resource.setrlimit(limit, (value, hard))
