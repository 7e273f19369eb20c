"""Foreign code in a decoder: each function attacks in one way and returns what it gained. Runs in a sandbox child.

`target` tells what an attacker would find out: the parent's process id, paths of secrets and of a socket. Whatever
could do damage is aimed at `victim`, a process that the test started.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import resource
import signal
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

libc = ctypes.CDLL(None, use_errno=True)
COLUMN = 0 if platform.machine() == "x86_64" else 1
# System calls by their numbers on x86_64 and aarch64.
CALLS = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424), "tkill": (200, 130),
    "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "timer_create": (222, 107),
    "clone3": (435, 435), "execveat": (322, 281), "memfd_create": (319, 279), "io_uring_setup": (425, 425),
    "fsopen": (430, 430), "open_tree": (428, 428), "move_mount": (429, 429), "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264), "pivot_root": (155, 41), "setns": (308, 268),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "keyctl": (250, 219),
    "add_key": (248, 217), "personality": (135, 92), "ioprio_set": (251, 30), "capset": (126, 91),
    "seccomp": (317, 277), "landlock_create_ruleset": (444, 444), "openat2": (437, 437), "shmget": (29, 194),
    "mq_open": (240, 180), "init_module": (175, 105), "splice": (275, 76), "process_madvise": (440, 440),
}  # fmt: skip
PTRACE_ATTACH, PTRACE_SEIZE = 16, 0x4206
Gains = list[str]


def call(name: str, *arguments: Any) -> bool:
    """Whether the kernel carries out this system call: any error other than a refusal counts as done."""
    number = CALLS[name][COLUMN]
    converted = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result = libc.syscall(ctypes.c_long(number), *converted)
    return result >= 0 or ctypes.get_errno() not in {errno.EPERM, errno.EACCES, errno.ENOSYS}


def done(name: str, action: Callable[[], Any]) -> Gains:
    """The name if the action succeeds."""
    try:
        action()
    except (OSError, ValueError, LookupError, RuntimeError, MemoryError):
        return []
    return [name]


def files(target: dict[str, Any], **_: Any) -> Gains:
    gains: Gains = []
    parent = target["parent"]
    secrets = [f"/proc/{process}/{name}" for process in (parent, "self") for name in ("environ", "mem", "maps", "fd/0")]
    for path in [*target["files"], *secrets, "/etc/passwd", "/etc/shadow", "/proc/self/root/etc/passwd", "/dev/mem"]:
        gains += done(f"read {path}", lambda path=path: os.open(path, os.O_RDONLY))
    for path in (*target["folders"], "/", "/proc", "/tmp", "/home", f"/proc/{parent}/fd", f"/proc/{parent}/task"):
        gains += done(f"list {path}", lambda path=path: os.listdir(path))
    how = struct.pack("=QQQ", os.O_RDONLY, 0, 0)
    path = ctypes.c_char_p(target["files"][0].encode())
    return gains + (["openat2"] if call("openat2", -100, path, how, len(how)) else [])


def writes(target: dict[str, Any], **_: Any) -> Gains:
    gains: Gains = []
    for folder in (*target["folders"], "/tmp", "/dev/shm", "/proc/self", "/"):
        gains += done(f"create in {folder}", lambda folder=folder: os.open(f"{folder}/new", os.O_WRONLY | os.O_CREAT))
        gains += done(f"temporary in {folder}", lambda folder=folder: os.open(folder, os.O_TMPFILE | os.O_RDWR))
        gains += done(f"folder in {folder}", lambda folder=folder: os.mkdir(f"{folder}/new"))
        gains += done(f"link in {folder}", lambda folder=folder: os.symlink("/", f"{folder}/new"))
    for path in target["files"]:
        gains += done(f"write {path}", lambda path=path: os.open(path, os.O_RDWR))
        gains += done(f"truncate {path}", lambda path=path: os.truncate(path, 0))
        gains += done(f"remove {path}", lambda path=path: os.unlink(path))
        gains += done(f"rename {path}", lambda path=path: os.rename(path, f"{path}2"))
        gains += done(f"hard link {path}", lambda path=path: os.link(path, f"{path}2"))
        gains += done(f"mode of {path}", lambda path=path: os.chmod(path, 0o777))
        gains += done(f"owner of {path}", lambda path=path: os.chown(path, os.getuid(), os.getgid()))
        gains += done(f"times of {path}", lambda path=path: os.utime(path, (0, 0)))
        gains += done(f"attribute of {path}", lambda path=path: os.setxattr(path, "user.a", b"a"))
    return gains


def own_file(file: int, **_: Any) -> Gains:
    """Attacks through the descriptor of the file that it decodes."""
    gains = done("write", lambda: os.write(file, b"x")) + done("truncate", lambda: os.ftruncate(file, 0))
    gains += done("mode", lambda: os.fchmod(file, 0o777)) + done("times", lambda: os.utime(file, (0, 0)))
    gains += done("open again", lambda: os.open(f"/proc/self/fd/{file}", os.O_RDWR))
    libc.mmap.restype = ctypes.c_void_p
    code = libc.mmap(None, ctypes.c_size_t(4096), 5, 2, file, ctypes.c_long(0))  # PROT_READ | PROT_EXEC, MAP_PRIVATE
    gains += ["run its bytes"] if code != ctypes.c_void_p(-1).value else []
    return gains + done("lock", lambda: fcntl.flock(file, fcntl.LOCK_EX))


def environment(target: dict[str, Any], **_: Any) -> Gains:
    return [f"{name}={value}" for name, value in os.environ.items() if target["secret"] in value]


def memory_of_others(target: dict[str, Any], **_: Any) -> Gains:
    parent, buffer = target["parent"], ctypes.create_string_buffer(8)
    vector = struct.pack("=QQ", ctypes.addressof(buffer), 8)
    gains = [name for name in ("process_vm_readv", "process_vm_writev") if call(name, parent, vector, 1, vector, 1, 0)]
    gains += ["ptrace the parent"] if call("ptrace", PTRACE_SEIZE, parent, 0, 0) else []
    gains += ["ptrace another"] if call("ptrace", PTRACE_ATTACH, target["victim"], 0, 0) else []
    gains += ["pidfd_open"] if call("pidfd_open", parent, 0) else []
    gains += ["pidfd_getfd"] if call("pidfd_getfd", 0, 0, 0) else []
    gains += ["kcmp"] if call("kcmp", parent, os.getpid(), 0, 0, 0) else []
    return gains + (["process_madvise"] if call("process_madvise", 0, vector, 1, 4, 0) else [])


def sockets(target: dict[str, Any], **_: Any) -> Gains:
    gains: Gains = []
    families = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_PACKET, socket.AF_ALG)
    for family in (*families, 40):  # 40: AF_VSOCK
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
            gains += done(f"socket {family} {kind}", lambda family=family, kind=kind: socket.socket(family, kind))
    gains += done("socketpair", socket.socketpair)
    # The socket of the requests is the only one that a child has.
    path = os.fsencode(target["socket"])
    for name, address in (("path", b"\x01\x00" + path + b"\0"), ("abstract", b"\x01\x00\0" + path)):
        gains += [f"{name} {act}" for act in ("connect", "bind") if libc[act](0, address, len(address)) == 0]
        sent = libc.sendto(0, b"x", 1, socket.MSG_NOSIGNAL, address, len(address))
        gains += [f"{name} sendto"] if sent >= 0 else []
    gains += [f"send descriptors {n}" for n in (0, 1, 3, 4, 5) if _send_descriptor(n)]
    return gains + (["io_uring"] if call("io_uring_setup", 1, ctypes.create_string_buffer(120)) else [])


def _send_descriptor(number: int) -> bool:
    class Header(ctypes.Structure):
        _fields_ = (("name", ctypes.c_void_p), ("name_size", ctypes.c_uint), ("vector", ctypes.c_void_p),
                    ("count", ctypes.c_size_t), ("control", ctypes.c_void_p), ("control_size", ctypes.c_size_t),
                    ("flags", ctypes.c_int))  # fmt: skip

    data = ctypes.create_string_buffer(b"x")
    vector = ctypes.create_string_buffer(struct.pack("=QQ", ctypes.addressof(data), 1))
    control = ctypes.create_string_buffer(struct.pack("=QiiiI", 20, socket.SOL_SOCKET, socket.SCM_RIGHTS, number, 0))
    header = Header(None, 0, ctypes.addressof(vector), 1, ctypes.addressof(control), 24, 0)
    return bool(libc.sendmsg(0, ctypes.byref(header), socket.MSG_NOSIGNAL) >= 0)


def signals(target: dict[str, Any], **_: Any) -> Gains:
    gains: Gains = []
    info = ctypes.create_string_buffer(128)
    victim = target["victim"]
    for process in (target["parent"], victim, -1, 0, -target["parent"], 1):
        gains += done(f"kill {process}", lambda process=process: os.kill(process, 0))
    for number in (signal.SIGTERM, signal.SIGSTOP, signal.SIGKILL):
        gains += done(f"kill with {number}", lambda number=number: os.kill(victim, number))
    for victim in (target["victim"],):
        gains += ["tkill"] if call("tkill", victim, signal.SIGKILL) else []
        gains += ["tgkill"] if call("tgkill", victim, victim, signal.SIGKILL) else []
        gains += ["rt_sigqueueinfo"] if call("rt_sigqueueinfo", victim, signal.SIGKILL, info) else []
        gains += ["rt_tgsigqueueinfo"] if call("rt_tgsigqueueinfo", victim, victim, signal.SIGKILL, info) else []
        gains += _signal_by_owner(victim)
        event = ctypes.create_string_buffer(struct.pack("=qiii", 0, signal.SIGKILL, 4, victim), 64)
        gains += ["timer_create"] if call("timer_create", 1, event, ctypes.create_string_buffer(8)) else []
    gains += ["pidfd_send_signal"] if call("pidfd_send_signal", 0, signal.SIGKILL, None, 0) else []
    return gains + [f"prctl {option}" for option in (1, 59, 62) if libc.prctl(option, signal.SIGKILL, 0, 0, 0) == 0]


def _signal_by_owner(victim: int) -> Gains:
    gains: Gains = []
    for number in range(3, 10):
        for command, value in ((fcntl.F_SETOWN, victim), (fcntl.F_SETSIG, signal.SIGKILL), (fcntl.F_SETFL, os.O_ASYNC)):
            with suppress(OSError):
                fcntl.fcntl(number, command, value)
                gains.append(f"fcntl {command} on {number}")
        gains += done(f"lease {number}", lambda number=number: fcntl.fcntl(number, fcntl.F_SETLEASE, fcntl.F_RDLCK))
        gains += done(f"notify {number}", lambda number=number: fcntl.fcntl(number, fcntl.F_NOTIFY, fcntl.DN_ACCESS))
        owner = struct.pack("=i", victim)
        gains += [f"FIOSETOWN {number}"] if libc.ioctl(number, 0x8901, owner) == 0 else []
        gains += [f"FIOASYNC {number}"] if libc.ioctl(number, 0x5452, owner) == 0 else []
    return gains


def processes(target: dict[str, Any], **_: Any) -> Gains:
    gains: Gains = []
    for name in ("fork", "vfork"):
        started = libc[name]()
        if started == 0:
            os._exit(0)
        gains += [name] if started > 0 else []
    if COLUMN == 0:
        for flags in (17, 0x100 | 17, 0x10000000 | 17, 0x00010000 | 0x40000000, 0x00010000 | 0x8000):
            started = libc.syscall(ctypes.c_long(56), ctypes.c_long(flags), None, None, None, None)
            if started == 0:
                os._exit(0)
            gains += [f"clone {flags:#x}"] if started > 0 else []
    arguments = ctypes.create_string_buffer(struct.pack("=11Q", 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0), 88)
    gains += ["clone3"] if call("clone3", arguments, 88) else []
    gains += done("execve", lambda: os.execv("/bin/true", ["true"]))
    gains += done("spawn", lambda: os.posix_spawn("/bin/true", ["true"], {}))
    gains += ["memfd"] if call("memfd_create", ctypes.c_char_p(b"x"), 0) else []
    return gains + (["execveat"] if call("execveat", 0, ctypes.c_char_p(b""), None, None, 0x1000) else [])


def mounts(target: dict[str, Any], **_: Any) -> Gains:
    text = ctypes.c_char_p
    folder = target["folders"][0].encode()
    gains = ["mount"] if libc.mount(text(b"none"), text(folder), text(b"tmpfs"), 0, None) == 0 else []
    gains += ["umount"] if libc.umount2(text(folder), 2) == 0 or ctypes.get_errno() == errno.EINVAL else []
    gains += ["fsopen"] if call("fsopen", text(b"tmpfs"), 0) else []
    gains += ["open_tree"] if call("open_tree", -100, text(b"/"), 1) else []
    gains += ["move_mount"] if call("move_mount", -100, text(b"/"), -100, text(folder), 0) else []
    gains += ["mount_setattr"] if call("mount_setattr", -100, text(b"/"), 0, None, 0) else []
    gains += ["pivot_root"] if call("pivot_root", text(folder), text(folder)) else []
    handle = ctypes.create_string_buffer(struct.pack("=II", 128, 0), 136)
    gains += ["name_to_handle_at"] if call("name_to_handle_at", -100, text(folder), handle, handle, 0) else []
    gains += ["open_by_handle_at"] if call("open_by_handle_at", 0, handle, 0) else []
    gains += done("chroot", lambda: os.chroot(folder)) + done("chdir", lambda: os.chdir(folder))
    gains += [f"unshare {flag:#x}" for flag in (0x10000000, 0x20000, 0x400) if libc.unshare(flag) == 0]
    return gains + (["setns"] if call("setns", 0, 0) else [])


def attributes(target: dict[str, Any], **_: Any) -> Gains:
    gains: Gains = []
    victim, parameter = target["victim"], os.sched_param(0)
    gains += done("priority", lambda: os.setpriority(os.PRIO_PROCESS, victim, 19))
    gains += done("affinity", lambda: os.sched_setaffinity(victim, {0}))
    gains += done("limits", lambda: resource.prlimit(victim, resource.RLIMIT_NOFILE, (9, 9)))
    gains += done("read limits", lambda: resource.prlimit(target["parent"], resource.RLIMIT_NOFILE))
    gains += done("scheduler", lambda: os.sched_setscheduler(victim, os.SCHED_IDLE, parameter))
    gains += ["ioprio_set"] if call("ioprio_set", 1, victim, 0) else []
    return gains + done("host name", lambda: socket.sethostname(os.uname().nodename))


def privileges(target: dict[str, Any], **_: Any) -> Gains:
    gains = done("uid 0", lambda: os.setresuid(0, 0, 0)) + done("gid 0", lambda: os.setresgid(0, 0, 0))
    gains += done("groups", lambda: os.setgroups([0]))
    gains += ["uid"] if 0 in {os.getuid(), os.geteuid(), os.getgid(), os.getegid()} else []
    gains += [f"prctl {option}" for option in (4, 8, 22, 23, 24, 28, 38, 47) if libc.prctl(option, 1, 1, 0, 0) == 0]
    zeros = ctypes.create_string_buffer(200)
    others = ("bpf", "perf_event_open", "userfaultfd", "keyctl", "add_key", "capset", "seccomp", "init_module")
    gains += [name for name in others if call(name, zeros, zeros, 0, 0, 0)]
    others = ("personality", "shmget", "mq_open", "landlock_create_ruleset", "splice")
    return gains + [name for name in others if call(name, 0, 0, 0o1000, 0, 0, 0)]


def code_in_memory(**_: Any) -> Gains:
    libc.mmap.restype = ctypes.c_void_p
    failed = ctypes.c_void_p(-1).value
    gains = ["mmap writable code"] if libc.mmap(None, 4096, 7, 0x22, -1, 0) != failed else []
    page = libc.mmap(None, 4096, 3, 0x22, -1, 0)
    return gains + (["mprotect"] if libc.mprotect(ctypes.c_void_p(page), 4096, 5) == 0 else [])


def threads(**_: Any) -> int:
    """Number of threads that it could start."""
    lock = threading.Lock()
    lock.acquire()
    threading.stack_size(65536)
    started = 0
    with suppress(RuntimeError, MemoryError):
        while started < 20_000:
            threading.Thread(target=lock.acquire, daemon=True).start()
            started += 1
    return started


def own_limits(**_: Any) -> Gains:
    """Raises its own limits as far as it can, and returns those without an end."""
    gains: Gains = []
    for name in ("AS", "CPU", "NPROC", "NOFILE", "FSIZE", "CORE"):
        limit = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(limit)[1]
        gains += [name] if hard == resource.RLIM_INFINITY else []
        for value in (resource.RLIM_INFINITY, hard + 1):
            gains += done(f"raise {name}", lambda limit=limit, value=value: resource.setrlimit(limit, (value, value)))
    return gains


def much_memory(**_: Any) -> int:
    """Megabytes that it could take after it raised its limit."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    kept = []
    with suppress(MemoryError):
        while len(kept) < 10_000:
            kept.append(bytes(1_000_000))
    return len(kept)


def survive(**_: Any) -> None:
    """Ignores every signal, closes what it can, and works on. A child without its answers' pipe would be killed."""
    for number in range(1, signal.NSIG):
        with suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_IGN)
    for number in range(3, 64):
        with suppress(OSError):
            if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY:
                continue
            fcntl.fcntl(number, fcntl.F_SETFL, 0)
        with suppress(OSError):
            os.dup2(0, number)
        with suppress(OSError):
            os.close(number)
    while True:
        pass


def lie(words: str, **_: Any) -> None:
    """Writes an answer of its own wherever it can, and waits. A star repeats the text before it very often."""
    before, star, after = words.partition("*")
    answer = (before[:-1] + before[-1] * 200_000 + after if star else words).encode(errors="surrogateescape") + b"\n"
    for number in range(64):
        text = answer
        with suppress(OSError):
            while text:
                text = text[os.write(number, text) :]
    threading.Event().wait()


def take_everything(**_: Any) -> Any:
    """Every attack against the process that started it; a gain ends as words in the verdict. For scripts/chaos."""
    folder = os.fsdecode(os.environ.get("PWD", "/"))
    target = {"parent": os.getppid(), "victim": os.getppid(), "secret": "", "socket": f"{folder}/esteira"}
    target |= {"files": [f"{folder}/.env", f"{folder}/esteira.db", "/etc/passwd"], "folders": [folder, "/tmp"]}
    return {"flags": [gain for attack in ATTACKS for gain in attack(target=target)] or ["nothing"]}


def lie_to_parent(**_: Any) -> None:
    """Writes a verdict with words of its own, and waits."""
    lie('{"refusal": ["stolen-words", {"text": "stolen-words"}]}')


def pid() -> int:
    return os.getpid()


def claim(answer: Any, **_: Any) -> Any:
    """Returns this as its result."""
    return answer


ATTACKS = (
    files, writes, environment, memory_of_others, sockets, signals, processes, mounts, attributes, privileges,
    code_in_memory, own_limits,
)  # fmt: skip


def close_everything(**_: Any) -> None:
    """Closes every descriptor that it can, and works on."""
    for number in range(1, 64):
        with suppress(OSError):
            os.close(number)
    while True:
        pass
