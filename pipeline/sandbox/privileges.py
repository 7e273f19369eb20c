"""Gives up privileges: the network, the user, the capabilities, and the limits of this process. Linux only."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import struct
from _thread import allocate_lock, start_new_thread
from contextlib import suppress

from pipeline.sandbox import libc

# linux/sched.h, linux/prctl.h, linux/capability.h, asm/unistd.h
CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWNET = 0x04000000, 0x08000000, 0x10000000, 0x40000000
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 24, 38, 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
CAPSET = {"x86_64": 126, "aarch64": 91}
CAPABILITY_VERSION = 0x20080522
MAX_CAPABILITIES = 64
NAMESPACES = CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS

# Tasks of the user; doubled until a thread starts. Foreign code could take each limit that a child before it was given,
# so the last one, or three quarters of what the system allows the user, is also what all of them can take together.
FIRST_THREAD_LIMIT, LAST_THREAD_LIMIT = 8, 1 << 12


def leave_namespaces(*, with_user: bool) -> None:
    """Moves this process into an empty network, IPC and UTS namespace; with `with_user` into a user namespace too.

    Raises:
        OSError: the kernel, a container or the missing privilege forbids it.
    """
    libc.unshare(NAMESPACES | (CLONE_NEWUSER if with_user else 0))


def change_user(uid: int, gid: int) -> None:
    """Changes to this user and group for good, without supplementary groups. Raises OSError if it may not."""
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def drop_bounding_set() -> None:
    """Drops all capabilities from the bounding set. Without CAP_SETPCAP there is nothing to drop it with."""
    for capability in range(MAX_CAPABILITIES):
        try:
            libc.prctl(PR_CAPBSET_DROP, capability)
        except OSError:  # EPERM, or EINVAL behind the last capability
            return


def drop_capabilities(machine: str) -> None:
    """Empties the ambient, effective, permitted and inheritable sets of this process. Raises OSError if it cannot."""
    libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    header = ctypes.create_string_buffer(struct.pack("=Ii", CAPABILITY_VERSION, 0))
    sets = ctypes.create_string_buffer(struct.pack("=6I", 0, 0, 0, 0, 0, 0))
    if machine not in CAPSET:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    libc.syscall(CAPSET[machine], header, sets)


def forbid_new_privileges() -> None:
    """No program that this process starts gets more privileges. Raises OSError if the kernel has no such flag."""
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1)


def limit_threads() -> int:
    """Limits the threads of this process, and returns the limit.

    The kernel counts all tasks of the user: in a user namespace those of this process alone, else on the whole machine.
    So the limit is the smallest power of two with which one more thread starts, times two: libde265 needs a thread.

    Raises:
        OSError: no thread starts at all.
    """
    limit, hard = FIRST_THREAD_LIMIT, resource.getrlimit(resource.RLIMIT_NPROC)[1]
    highest = LAST_THREAD_LIMIT if hard == resource.RLIM_INFINITY else min(LAST_THREAD_LIMIT, max(1, hard * 3 // 4))
    while True:
        limit = min(limit, highest)
        resource.setrlimit(resource.RLIMIT_NPROC, (limit, hard))
        if can_start_thread():
            break
        if limit == highest:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        limit *= 2
    limit = min(2 * limit, highest)
    resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))
    return limit


def can_start_thread() -> bool:
    """Starts a thread and waits for its end; False if the system refuses it."""
    done = allocate_lock()
    done.acquire()
    try:
        start_new_thread(done.release, ())
    except RuntimeError:
        return False
    done.acquire()
    return True


def limit_resources(open_files: int) -> None:
    """Forbids core dumps and writing to files, and limits open files."""
    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, open_files),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
    ):
        with suppress(ValueError):  # the inherited limit is lower already
            resource.setrlimit(limit, (value, value))
