"""Lua scripts on a client: several in one round trip, with little of a client's own work around it.

A call by way of redis-py's `Script` takes twice the processor time that this takes, most of it for things that nobody
here looks at. What it does against lost connections is the same, and nothing is repeated by itself either.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import redis
from redis.exceptions import NoScriptError

Word = str | int | bytes


class Call(NamedTuple):
    """One script with what it is given."""

    name: str
    keys: Sequence[Word]
    args: Sequence[Word]


class Scripts:
    """The scripts of `texts`, by name. Threads may call them at the same time, each on a connection of its own."""

    def __init__(self, client: redis.Redis, texts: Mapping[str, str]) -> None:
        self.client = client
        self._texts = texts
        self._shas = {
            name: hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest() for name, text in texts.items()
        }
        self._idle: deque[Any] = deque()
        self._process = os.getpid()

    def call(self, name: str, keys: Sequence[Word], args: Sequence[Word]) -> Any:
        """What a script answers.

        Raises:
            redis.RedisError: it could not be called, or has failed.
        """
        (answer,) = self.call_all([Call(name, keys, args)])
        if isinstance(answer, redis.RedisError):
            raise answer
        return answer

    def call_all(self, calls: Sequence[Call]) -> list[Any]:
        """What each of them answers or the `redis.ResponseError` that it ended with, in one round trip.

        Raises:
            redis.RedisError: the server cannot be reached, or has gone meanwhile.
        """
        answers = self._ask(calls)
        for number, answer in enumerate(answers):
            if isinstance(answer, NoScriptError):  # the first call of a server's life
                self.client.script_load(self._texts[calls[number].name])
                answers[number] = self._ask([calls[number]])[0]
        return answers

    def _ask(self, calls: Sequence[Call]) -> list[Any]:
        connection = self._ready_connection()
        try:
            connection.send_packed_command(
                [
                    piece
                    for name, keys, args in calls
                    for piece in connection.pack_command("EVALSHA", self._shas[name], len(keys), *keys, *args)
                ]
            )
            answers = [_answer(connection) for _ in calls]
        except BaseException:  # an answer that somebody else would take for theirs may be on its way
            connection.disconnect()
            self.client.connection_pool.release(connection)  # which dials once where there is nobody, not twice
            raise
        self._idle.append(connection)
        return answers

    def _ready_connection(self) -> Any:
        if self._process != os.getpid():  # forked: those connections belong to the parent
            self._idle, self._process = deque(), os.getpid()
        try:
            connection = self._idle.pop()
        except IndexError:
            return self.client.connection_pool.get_connection()
        # As the pool does: a server that has closed it meanwhile is noticed before anything is sent.
        try:
            stale = connection.can_read()
        except (redis.RedisError, OSError):
            stale = True
        if stale:
            connection.disconnect()
        return connection


def _answer(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error
