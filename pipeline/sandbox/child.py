"""The program of a child process: reads requests from standard input and answers each of their calls.

Standard input is a socket. A request is one line: the arguments that all its calls share as JSON, a tab, and a JSON
list of the calls, each of them `["module:function", {…its own arguments…}, whether it has a file]`. The open
descriptors of the files come with it, in the order of the calls. An answer is one line: `{"result": …}` or
`{"refusal": …}` (see refusals.py); with `"replace": true` in addition it asks the parent for a new child. The last
answer of a request goes to standard output, which the parent waits for, the answers before it to the pipe `early`.
`null` instead of the last answer means that the remaining calls were not begun: the child wants to be replaced, or the
parent has interrupted the request by writing another line.

The first line is empty, or says which layer of the confinement cannot be set up.
"""

from __future__ import annotations

import array
import gc
import importlib
import json
import math
import os
import resource
import select
import sys
import time
from _socket import CMSG_SPACE, MSG_CTRUNC, socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pipeline.sandbox import libc, lifetime
from pipeline.sandbox.child_errors import error_answer, load_error
from pipeline.sandbox.confinement import MAX_OPEN_FILES, ConfinementError, confine
from pipeline.sandbox.files import MAX_FILES
from pipeline.sandbox.terms import Confinement

MANY_OPEN_FILES = (MAX_OPEN_FILES - MAX_FILES) // 2  # a child with more is replaced before it runs out
INTERRUPTED = b"null\n"
# CPU time of all calls of a child together: so many times what one call may use, at least so many seconds. Then it is
# replaced, which costs 0.4 s: what foreign code in a child can see and burn is bounded by the kernel.
LIFETIME, MIN_LIFETIME_S = 20, 120
PAGE_BYTES = resource.getpagesize()
# Decoders run single-threaded: one arena keeps the address space as small as the work. Up to 16 MB of freed memory are
# kept for the next file. If they were returned to the kernel each time, their pages would be zeroed and faulted in
# again, which is a third of the cost of a sticker. malloc.h: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX.
ALLOCATOR = {-1: 16 << 20, -3: 4 << 20, -8: 1}


@dataclass(frozen=True)
class Configuration:
    """The parent's settings for a child. `lifeline` and `early` are file descriptors."""

    memory_bytes: int
    cpu_s: int
    lifeline: int
    early: int
    preload: list[str]
    confinement: dict[str, Any]
    nice: int = 0


def main(configuration: str) -> None:
    """Answers requests until standard input ends."""
    config = Configuration(**json.loads(configuration))
    libc.tune_allocator(ALLOCATOR)
    answers = os.dup(1)
    os.dup2(2, 1)  # output of a library must not get into the answers
    lifetime.restore_signals()
    lifetime.die_with_parent(config.lifeline)
    os.nice(config.nice)
    for module in config.preload:
        with suppress(ImportError, OSError):  # the call of its function says that it cannot be loaded
            importlib.import_module(module)
    requests, statm = socket(fileno=0), os.open("/proc/self/statm", os.O_RDONLY)
    try:
        confine(Confinement(**config.confinement), lifeline=config.lifeline)
    except ConfinementError as error:
        os.write(answers, json.dumps({"layer": error.layer, "errno": error.number}).encode() + b"\n")
        return
    gc.collect()
    gc.freeze()
    server = _Server(config, answers=answers, statm=statm)
    os.write(answers, b"\n")
    for request, files in _requests(requests):
        server.answer(request, files)


def _requests(connection: socket) -> Iterator[tuple[bytes, list[int]]]:
    buffer, files = b"", array.array("i")
    space = CMSG_SPACE(MAX_FILES * files.itemsize)
    while True:
        chunk, control, flags, _ = connection.recvmsg(65536, space)
        if not chunk or flags & MSG_CTRUNC:  # more descriptors than this process may open: earlier calls leaked some
            return
        for _level, _type, data in control:
            files.frombytes(data)
        buffer += chunk
        if chunk.endswith(b"\n"):
            for line in filter(None, buffer.split(b"\n")):  # an empty line interrupted a request that had ended already
                yield line, list(files)
            buffer, files = b"", array.array("i")


class _Server:
    """Answers requests, with limits on the memory and CPU of each call."""

    def __init__(self, config: Configuration, *, answers: int, statm: int) -> None:
        self._config, self._answers, self._statm = config, answers, statm
        self._functions: dict[str, Callable[..., Any] | None] = {}
        self._pending = 0  # files of calls of this request that have not been answered
        self._input = select.poll()
        self._input.register(0, select.POLLIN)
        self._shared_text, self._shared = b"", dict[str, Any]()
        self._cpu_limit = 0
        self._space_limit = 0
        self._space_at_start = self._space = self._address_space()
        # Limits that this process cannot raise, also if foreign code runs in it.
        self._last_cpu_s = math.ceil(time.process_time()) + max(MIN_LIFETIME_S, LIFETIME * config.cpu_s)
        _set_hard_limit(resource.RLIMIT_CPU, self._last_cpu_s + config.cpu_s)
        _set_hard_limit(resource.RLIMIT_AS, self._space + 2 * config.memory_bytes)

    def answer(self, request: bytes, files: list[int]) -> None:
        """Answers the calls of a request. Stops if the parent writes or is gone, or if this child must be replaced."""
        shared, _, text = request.partition(b"\t")
        if shared != self._shared_text:
            self._shared_text, self._shared = shared, json.loads(shared)
        calls = json.loads(text)
        files.reverse()
        try:
            self._answer_calls(calls, files)
        finally:
            for file in files:
                os.close(file)

    def _answer_calls(self, calls: list[tuple[str, dict[str, Any], bool]], files: list[int]) -> None:
        last = len(calls) - 1
        for at, (name, arguments, has_file) in enumerate(calls):
            if at and self._input.poll(0):
                os.write(self._answers, INTERRUPTED)
                return
            self._pending = len(files)
            answer, replace = self._answer(name, arguments, files.pop() if has_file else None)
            _write(self._answers if at == last else self._config.early, answer + b"\n")
            if replace and at < last:
                os.write(self._answers, INTERRUPTED)
                return

    def _answer(self, name: str, arguments: dict[str, Any], file: int | None) -> tuple[bytes, bool]:
        """The answer to a call, and whether it asks for a new child. Closes the file."""
        self._load(name)
        if file is None:
            answer, replace = self._call(name, arguments)
        else:
            answer, replace = self._call(name, {"file": file, **arguments})
            with suppress(OSError):
                os.close(file)
        self._space = self._address_space()
        # Memory that stays allocated between calls is a leak. A new child costs less than a limit that grows.
        leaks = self._space - self._space_at_start > self._config.memory_bytes // 2
        if not replace and (leaks or self._cpu_limit > self._last_cpu_s):
            return b'{"replace": true, ' + answer[1:], True
        return answer, replace

    def _load(self, name: str) -> None:
        """Imports the function if it is new. The address space that this takes does not count as a leak."""
        if name in self._functions:
            return
        before = self._address_space()
        module, _, attribute = name.partition(":")
        self._lift_memory_limit()
        try:
            self._functions[name] = getattr(importlib.import_module(module), attribute)
        except (
            ImportError,
            AttributeError,
            OSError,
        ):  # OSError: of a missing library, or the confinement
            self._functions[name] = None
        self._space = self._address_space()
        self._space_at_start += self._space - before

    def _call(self, name: str, arguments: dict[str, Any]) -> tuple[bytes, bool]:
        """The answer, and whether it asks for a new child."""
        function = self._functions[name]
        if function is None:
            return json.dumps(load_error()).encode(), False
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
        # The kernel uses the lowest free number, so all below it are taken, some of them by files that come next.
        if number >= MANY_OPEN_FILES + self._pending:
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


def _set_hard_limit(limit: int, value: int) -> None:
    soft, hard = resource.getrlimit(limit)
    if hard == resource.RLIM_INFINITY or value < hard:
        resource.setrlimit(limit, (value if soft == resource.RLIM_INFINITY else min(soft, value), value))
