"""The child's side of the sandbox: one request a line on standard input, one answer a line on standard output.

A request is `{"function": "module:function", "arguments": {…}}`, an answer `{"result": …}` or `{"error": {…}}`;
`"tired": true` beside it asks the parent for a fresh child.
"""

from __future__ import annotations

import errno
import gc
import importlib
import json
import math
import os
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import Code, PipelineError, RetryableError
from pipeline.sandbox import confine

MANY_OPEN_FILES = confine.MAX_OPEN_FILES // 2


@dataclass(frozen=True)
class Configuration:
    """What the parent tells a child at its start. `lifeline` is a file descriptor."""

    memory_bytes: int
    cpu_s: int
    lifeline: int
    preload: list[str]
    nice: int = 0


def main(configuration: str) -> None:
    """Answers requests until standard input ends."""
    config = Configuration(**json.loads(configuration))
    answers = os.dup(1)
    os.dup2(2, 1)  # a library that prints must not write into the answers
    confine.restore_signals()
    confine.die_with_parent(config.lifeline)
    os.nice(config.nice)
    confine.leave_network()
    for module in config.preload:
        importlib.import_module(module)
    confine.limit_resources()
    confine.refuse_calls()
    gc.collect()
    gc.freeze()
    _serve(config, answers)


def _serve(config: Configuration, answers: int) -> None:
    start = _address_space()
    os.write(answers, b"\n")
    for line in _lines():
        request = json.loads(line)
        start += _load(request["function"])
        answer = _answer(request["function"], request["arguments"], config)
        # What stays taken between two calls is a leak: a fresh child costs less than a limit that means less and less.
        answer.setdefault("tired", _address_space() - start > config.memory_bytes // 2)
        _write(answers, json.dumps(answer).encode() + b"\n")


def _lines() -> Iterator[bytes]:
    held = b""
    while piece := os.read(0, 65536):
        held += piece
        if piece.endswith(b"\n"):
            yield held
            held = b""


def _write(file: int, text: bytes) -> None:
    while text:
        text = text[os.write(file, text) :]


_functions: dict[str, Callable[..., Any] | None] = {}


def _load(name: str) -> int:
    """Makes sure that the function is imported; how many bytes of address space that took."""
    if name in _functions:
        return 0
    before = _address_space()
    module, _, attribute = name.partition(":")
    try:
        _functions[name] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError):
        _functions[name] = None
    return _address_space() - before


def _answer(name: str, arguments: dict[str, Any], config: Configuration) -> dict[str, Any]:
    function = _functions[name]
    if function is None:  # a fault of the installation: it says nothing about the file
        return _error("retryable", Code.INTERNAL, f"{name} cannot be loaded")
    try:
        with _limits(config):
            return {"result": function(**arguments)}
    except PipelineError as error:
        return _error("retryable" if isinstance(error, RetryableError) else "permanent", error.code, error.message)
    except MemoryError:
        return _tired("permanent", Code.TOO_COSTLY, "takes more memory than is allowed")
    except FileNotFoundError as error:
        return _tired("lost", Code.STAGING_LOST, Path(str(error.filename or "")).name)
    except OSError as error:
        return _of_the_system(error)
    except Exception as error:  # noqa: BLE001 -- the edge of the process: whatever a decoder raises is its crash
        return _crash(error)


@contextmanager
def _limits(config: Configuration) -> Iterator[None]:
    """So much memory and CPU time beyond what this process has used so far, for the time of one call."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    cpu = math.ceil(usage.ru_utime + usage.ru_stime) + config.cpu_s
    _soft_limit(resource.RLIMIT_CPU, cpu)
    _soft_limit(resource.RLIMIT_AS, min(_address_space() + config.memory_bytes, sys.maxsize))
    try:
        yield
    finally:
        _soft_limit(resource.RLIMIT_AS, resource.RLIM_INFINITY)


def _soft_limit(which: int, most: int) -> None:
    hard = resource.getrlimit(which)[1]
    if hard != resource.RLIM_INFINITY and (most == resource.RLIM_INFINITY or most > hard):
        most = hard
    resource.setrlimit(which, (most, hard))


def _address_space() -> int:
    """Bytes of this process's address space; no end of them where calls have left files open, which is a leak too."""
    try:
        file = os.open("/proc/self/statm", os.O_RDONLY)
    except OSError:  # no number is left for one more file
        return sys.maxsize
    try:
        pages = int(os.read(file, 64).split()[0])
    finally:
        os.close(file)
    # The kernel hands out the lowest free number: a high one means that many are taken.
    return pages * resource.getpagesize() if file < MANY_OPEN_FILES else sys.maxsize


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
