"""Runs Lua scripts, several in one round trip, with little overhead in the client.

redis-py's `Script` takes twice the processor time, most of it for features that are not used here. Lost connections are
handled in the same way, and nothing is repeated either.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import redis
from redis.exceptions import NoScriptError

from pipeline.redis_client import REDIRECTS, follow

ScriptArg = str | int | bytes


class ScriptCall(NamedTuple):
    """One call of a script."""

    name: str
    keys: Sequence[ScriptArg]
    args: Sequence[ScriptArg]


class ScriptRunner:
    """The scripts of `texts`, by name. Threads may run them at the same time, each on a connection of its own."""

    def __init__(self, client: redis.Redis, texts: Mapping[str, str]) -> None:
        self.client = client
        self._texts = texts
        self._shas = {
            name: hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest() for name, text in texts.items()
        }
        self._idle: deque[Any] = deque()
        self._process = os.getpid()

    def run(self, name: str, keys: Sequence[ScriptArg], args: Sequence[ScriptArg]) -> Any:
        """Runs one script and returns its answer.

        Raises:
            redis.RedisError: the script could not be called, or has failed.
        """
        (answer,) = self.run_all([ScriptCall(name, keys, args)])
        if isinstance(answer, redis.RedisError):
            raise answer
        return answer

    def run_all(self, calls: Sequence[ScriptCall]) -> list[Any]:
        """Runs scripts in one round trip; returns for each its answer, or the `redis.ResponseError` that it raised.

        Raises:
            redis.RedisError: the server cannot be reached, or the connection was lost.
        """
        answers = self._send(calls)
        for number, answer in enumerate(answers):
            if isinstance(answer, redis.ResponseError):
                answers[number] = self._repeat(calls[number], answer)
        return answers

    def _repeat(self, call: ScriptCall, error: redis.ResponseError) -> Any:
        """The answer to a call that was refused; it was not executed, and may be sent again."""
        if isinstance(error, REDIRECTS) and follow(self.client, error):
            self._close_idle()
            [answer] = self._send([call])
            if isinstance(answer, redis.ResponseError):
                error = answer
            else:
                return answer
        if isinstance(error, NoScriptError):  # the first call since the server started
            self.client.script_load(self._texts[call.name])
            return self._send([call])[0]
        return error

    def _send(self, calls: Sequence[ScriptCall]) -> list[Any]:
        connection = self._ready_connection()
        try:
            connection.send_packed_command(
                [
                    piece
                    for name, keys, args in calls
                    for piece in connection.pack_command("EVALSHA", self._shas[name], len(keys), *keys, *args)
                ]
            )
            answers = [_read_answer(connection) for _ in calls]
        except BaseException:  # an answer may still arrive, and the next caller would take it for its own
            connection.disconnect()
            self.client.connection_pool.release(connection)  # not to _idle: the pool reconnects only once per call
            self._close_idle()
            raise
        self._idle.append(connection)
        return answers

    def _close_idle(self) -> None:
        """Gives up the idle connections: the server they belong to may be away, or not be the primary any more."""
        if self._process != os.getpid():
            return
        with suppress(IndexError):
            while True:
                connection = self._idle.pop()
                connection.disconnect()
                self.client.connection_pool.release(connection)

    def _ready_connection(self) -> Any:
        if self._process != os.getpid():  # after a fork: the idle connections belong to the parent
            self._idle, self._process = deque(), os.getpid()
        try:
            connection = self._idle.pop()
        except IndexError:
            return self.client.connection_pool.get_connection()
        # As redis-py's pool does: a connection that the server has closed is noticed before anything is sent.
        try:
            stale = connection.can_read()
        except (redis.RedisError, OSError):
            stale = True
        if stale:
            connection.disconnect()
        return connection


def _read_answer(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error
