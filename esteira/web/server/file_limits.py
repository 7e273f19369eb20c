"""How many connections and sockets one process keeps open, derived from its limit of file descriptors."""

from __future__ import annotations

import resource

MAX_CONNECTIONS = 1000
BACKLOGS = 128, 1024  # the smallest and the largest
WANTED_FILES = 8192  # file descriptors for a thousand connections, as many sockets, and the work of the process


def max_connections() -> int:
    """How many HTTP connections a process keeps open: at most half of its file descriptors.

    The other half is for the work, and for connections that are accepted before older ones are closed: up to three
    times the backlog when many arrive at once.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if limit == resource.RLIM_INFINITY else max(1, min(MAX_CONNECTIONS, limit // 2))


def backlog() -> int:
    """How many connections the kernel accepts before the process handles them: an eighth of its file descriptors.

    The kernel drops further ones, and their clients try again after a second, also those that are no strangers.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    smallest, largest = BACKLOGS
    return largest if limit == resource.RLIM_INFINITY else min(largest, max(smallest, limit // 8))


def max_sockets(wanted: int) -> int:
    """How many of `wanted` live sockets a process keeps open: at most a quarter of its file descriptors."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if limit == resource.RLIM_INFINITY else max(1, min(wanted, limit // 4))


def raise_file_limit() -> None:
    """Raises the soft limit of file descriptors to WANTED_FILES, or as far as the hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_FILES if hard == resource.RLIM_INFINITY else min(WANTED_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
