"""The child's side of the sandbox: some calls a line on standard input, and for each of them a line with its answer.

A line holds the arguments that all its calls share, a tab, and a list of the calls, each of them
`["module:function", {…its own arguments…}]`; an answer is `{"result": …}` or
`{"error": {…}}`, and `"tired": true` beside it asks the parent for a fresh child. The last answer goes to standard
output, which the parent waits for, those before it into the pipe `early`. `null` instead of the last answer means that
the rest was not begun: the child is tired, or the parent wants no more of it and has said so by another line.
"""

from __future__ import annotations

import errno
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
from pathlib import Path
from typing import Any

from pipeline.errors import Code, PipelineError, RetryableError
from pipeline.sandbox import confinement

MANY_OPEN_FILES = confinement.MAX_OPEN_FILES // 2
BROKEN_OFF = b"null\n"
PAGE = resource.getpagesize()


@dataclass(frozen=True)
class Configuration:
    """What the parent tells a child at its start. `lifeline` and `early` are file descriptors."""

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
    os.dup2(2, 1)  # a library that prints must not write into the answers
    confinement.restore_signals()
    confinement.die_with_parent(config.lifeline)
    os.nice(config.nice)
    confinement.leave_network()
    for module in config.preload:
        importlib.import_module(module)
    confinement.limit_resources()
    confinement.refuse_calls()
    gc.collect()
    gc.freeze()
    _serve(config, answers)


def _serve(config: Configuration, answers: int) -> None:
    work = _Work(config, answers)
    os.write(answers, b"\n")
    for line in _lines():
        work.through(line)


def _lines() -> Iterator[bytes]:
    held = b""
    while piece := os.read(0, 65536):
        held += piece
        if piece.endswith(b"\n"):
            yield from filter(None, held.split(b"\n"))  # an empty one was to end what had ended by itself
            held = b""


class _Work:
    """What this child does between two lines, and what it may take for it."""

    def __init__(self, config: Configuration, answers: int) -> None:
        self._config, self._answers = config, answers
        self._statm = os.open("/proc/self/statm", os.O_RDONLY)
        self._functions: dict[str, Callable[..., Any] | None] = {}
        self._news = select.poll()
        self._news.register(0, select.POLLIN)
        self._shared_text, self._shared = b"", dict[str, Any]()
        self._cpu_limit = 0
        self._space_limit = 0
        self._start = self._space = self._address_space()

    def through(self, line: bytes) -> None:
        """Answers its calls. Breaks off if the parent says anything meanwhile, or is gone, or this child is tired."""
        shared, _, text = line.partition(b"\t")
        if shared != self._shared_text:
            self._shared_text, self._shared = shared, json.loads(shared)
        calls = json.loads(text)
        last = len(calls) - 1
        for at, (name, arguments) in enumerate(calls):
            if at and self._news.poll(0):
                os.write(self._answers, BROKEN_OFF)
                return
            self._load(name)
            answer, tired = self._answer(name, arguments)
            self._space = self._address_space()
            # What stays taken between two calls is a leak: a fresh child costs less than a limit that means less and
            # less.
            if not tired and self._space - self._start > self._config.memory_bytes // 2:
                answer, tired = b'{"tired": true, ' + answer[1:], True
            _write(self._answers if at == last else self._config.early, answer + b"\n")
            if tired and at < last:
                os.write(self._answers, BROKEN_OFF)
                return

    def _load(self, name: str) -> None:
        """Makes sure that the function is imported. The address space that this takes is no leak."""
        if name in self._functions:
            return
        before = self._address_space()
        module, _, attribute = name.partition(":")
        _soft_limit(resource.RLIMIT_AS, resource.RLIM_INFINITY)
        self._space_limit = 0
        try:
            self._functions[name] = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError):
            self._functions[name] = None
        self._space = self._address_space()
        self._start += self._space - before

    def _answer(self, name: str, arguments: dict[str, Any]) -> tuple[bytes, bool]:
        """The answer, and whether it says `tired`."""
        function = self._functions[name]
        if function is None:  # a fault of the installation: it says nothing about the file
            return json.dumps(_error("retryable", Code.INTERNAL, f"{name} cannot be loaded")).encode(), False
        self._limit()
        try:
            return json.dumps({"result": function(**self._shared, **arguments)}).encode(), False
        except Exception as error:  # noqa: BLE001 -- the edge of the process: whatever a decoder raises is its crash
            _soft_limit(resource.RLIMIT_AS, resource.RLIM_INFINITY)  # to say so takes memory too
            self._space_limit = 0
            verdict = _verdict(error)
            return json.dumps(verdict).encode(), "tired" in verdict

    def _limit(self) -> None:
        """So much memory and CPU time beyond what this process has used so far, for the next call."""
        cpu = math.ceil(time.process_time()) + self._config.cpu_s
        if cpu != self._cpu_limit:
            _soft_limit(resource.RLIMIT_CPU, cpu)
            self._cpu_limit = cpu
        space = min(self._space + self._config.memory_bytes, sys.maxsize)
        if space != self._space_limit:
            _soft_limit(resource.RLIMIT_AS, space)
            self._space_limit = space

    def _address_space(self) -> int:
        """Bytes of this process's address space; no end of them where calls have left files open: a leak too."""
        try:
            number = os.dup(0)
        except OSError:  # no number is left for one more file
            return sys.maxsize
        os.close(number)
        # The kernel hands out the lowest free number: a high one means that many are taken.
        return int(os.pread(self._statm, 64, 0).split(b" ", 1)[0]) * PAGE if number < MANY_OPEN_FILES else sys.maxsize


def _write(file: int, text: bytes) -> None:
    while text:
        text = text[os.write(file, text) :]


def _soft_limit(which: int, most: int) -> None:
    hard = resource.getrlimit(which)[1]
    if hard != resource.RLIM_INFINITY and (most == resource.RLIM_INFINITY or most > hard):
        most = hard
    resource.setrlimit(which, (most, hard))


def _verdict(error: Exception) -> dict[str, Any]:
    match error:
        case PipelineError():
            return _error("retryable" if isinstance(error, RetryableError) else "permanent", error.code, error.message)
        case MemoryError():
            return _tired("permanent", Code.TOO_COSTLY, "takes more memory than is allowed")
        case FileNotFoundError():
            return _tired("lost", Code.STAGING_LOST, Path(str(error.filename or "")).name)
        case OSError():
            return _of_the_system(error)
    return _crash(error)


def _of_the_system(error: OSError) -> dict[str, Any]:
    """The verdict on a file that could not be read: nothing is said of its content, unless a decoder broke out."""
    if error.errno is None or error.errno == errno.EPERM:
        return _crash(error)
    return _tired("retryable", Code.STAGING, f"cannot read the staged file: {error.strerror}")


def _crash(error: Exception) -> dict[str, Any]:
    return _tired("permanent", Code.DECODER_CRASH, f"the decoder failed with {type(error).__name__}")


def _tired(permanence: str, code: Code, message: str) -> dict[str, Any]:
    return _error(permanence, code, message) | {"tired": True}


def _error(permanence: str, code: Code, message: str) -> dict[str, Any]:
    return {"error": {"permanence": permanence, "code": code, "message": message}}
