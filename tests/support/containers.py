"""The image of deploy/Containerfile, built by buildah without a registry, and containers that run it.

The base image is made by mmdebstrap from Debian's packages. It is kept in the user's cache; CI makes it anew.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
PROGRAMS = ("buildah", "mmdebstrap", "nsenter", "setpriv", "unshare")
SUITE = "bookworm"
# What deploy/Containerfile needs of its base, which Debian's own images have: useradd and libstdc++ too.
BASE_OPTIONS = (
    "--variant=essential",
    "--include=python3-venv,ca-certificates,passwd,libstdc++6",
    "--dpkgopt=force-unsafe-io",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
)
CERTIFICATES = Path("/etc/ssl/certs")  # those of the machine, which may be behind a proxy with its own
CACHE_DAYS = 14
BUILD_S = 500
STOP_S = 60
WAIT_S = 90


def unavailable() -> str | None:
    """What this machine lacks to build and run the image; None if nothing."""
    if os.geteuid() != 0:
        return "root, to build the image without a container runtime,"
    return next((program for program in PROGRAMS if not shutil.which(program)), None)


class Builder:
    """buildah with a store of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._store = ("--root", str(folder / "store"), "--runroot", str(folder / "run"))

    def run(self, *arguments: str | Path) -> str:
        """Runs buildah; its output."""
        command = ["buildah", *self._store, *map(str, arguments)]
        finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=BUILD_S, check=False)
        assert finished.returncode == 0, f"{' '.join(command)}\n{finished.stdout[-4000:]}\n{finished.stderr[-4000:]}"
        return finished.stdout.strip()

    def build(self) -> Image:
        """Builds the base and the image."""
        empty = self.run("from", "scratch")
        self.run("add", empty, _base(), "/")
        self.run("config", "--env", "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", empty)
        self.run("commit", "--rm", empty, "base")
        arguments = ("--isolation=chroot", "--format=docker", "--file=deploy/Containerfile", "--tag=esteira")
        options = ("--build-arg=BASE=localhost/base", "--build-arg=UV_CACHE_DIR=/uv-cache")
        volumes = (f"--volume={_uv_cache()}:/uv-cache", f"--volume={CERTIFICATES}:{CERTIFICATES}:ro")
        self.run("bud", *arguments, *options, *volumes, ".")
        return self.mounted()

    def mounted(self) -> Image:
        """The image in a container of its own, whose files may be changed."""
        container = self.run("from", "--pull-never", "localhost/esteira")
        root = Path(self.run("mount", container))
        return Image(
            container, root, json.loads(self.run("inspect", "--type=container", container))["Docker"]["config"]
        )

    def remove(self) -> None:
        """Removes everything, the many small files without waiting for them."""
        for driver in self._folder.glob("store/overlay"):  # a folder that buildah mounts onto itself
            subprocess.run(["umount", "--recursive", "--lazy", str(driver)], check=False)
        subprocess.run(["sh", "-c", 'rm -rf "$1" &', "sh", str(self._folder)], check=False, start_new_session=True)


def _base() -> Path:
    cached = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "esteira-tests" / f"{SUITE}.tar"
    if not cached.exists() or time.time() - cached.stat().st_mtime > CACHE_DAYS * 86_400:
        cached.parent.mkdir(parents=True, exist_ok=True)
        new = cached.with_suffix(f".{os.getpid()}.tar")
        command = ["mmdebstrap", "--quiet", *BASE_OPTIONS, SUITE, str(new)]
        made = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_S, check=False)
        assert made.returncode == 0, made.stderr[-4000:]
        new.rename(cached)
    return cached


def _uv_cache() -> str:
    uv = shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")
    return subprocess.run([uv, "cache", "dir"], capture_output=True, text=True, check=True).stdout.strip()


@dataclass(frozen=True)
class Image:
    """The image's files, mounted for a container of buildah, and its configuration, as Docker writes it."""

    container: str
    root: Path
    config: Mapping[str, Any]

    def environment(self, settings: Mapping[str, str]) -> list[str]:
        """The variables of the image and the settings, as NAME=VALUE."""
        return [*self.config["Env"], *(f"{name}={value}" for name, value in settings.items())]

    @cached_property
    def site_packages(self) -> Path:
        """The folder of the Python packages."""
        return next(self.root.glob("opt/esteira/lib/python3.*/site-packages"))

    def run(
        self,
        *arguments: str,
        volume: Path,
        user: str | None = None,
        mode: str = "rw",
        memory: str = "max",
        **settings: str,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a container to its end, at most a minute."""
        command = _command(self, arguments, "once", Volume(volume, mode), user, settings)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(command, **pipes, env={**os.environ, "MEMORY_MAX": memory}, text=True)
        try:
            out, err = process.communicate(timeout=60)
        finally:
            Container(self, process, Path(os.devnull), settings).kill()
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    @contextlib.contextmanager
    def running(self, *arguments: str, name: str, volume: Path, **settings: str) -> Iterator[Container]:
        """Runs a container for the length of the block, and kills it if it has not ended by then."""
        with tempfile.NamedTemporaryFile(prefix=f"{name}-", suffix=".log") as log:
            command = _command(self, arguments, name, Volume(volume), None, settings)
            process = subprocess.Popen(command, stdout=log, stderr=log)
            container = Container(self, process, Path(log.name), settings)
            try:
                yield container
            finally:
                container.kill()


@dataclass(frozen=True)
class Volume:
    """A folder that is mounted at /data, `rw` or `ro`."""

    folder: Path
    mode: str = "rw"


def _command(
    image: Image,
    arguments: Sequence[str],
    name: str,
    volume: Volume,
    user: str | None,
    settings: Mapping[str, str],
) -> list[str]:
    script = [str(Path(__file__).with_name("container.sh")), str(image.root), name, str(volume.folder), volume.mode]
    program = [*image.config["Entrypoint"], *(arguments or image.config["Cmd"])]
    place = [user or image.config["User"], image.config["WorkingDir"]]
    return [*script, *place, *image.environment(settings), *program]


@dataclass(frozen=True)
class Container:
    """A running container."""

    image: Image
    process: subprocess.Popen[bytes]
    log: Path
    settings: Mapping[str, str]

    @property
    def pid(self) -> int:
        """The id of its process 1 on this machine."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return int(wait_until(children.read_text, 10).split()[0])

    def output(self) -> str:
        """What it has printed."""
        return self.log.read_text(errors="replace")

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Waits at most 90 s for a condition; fails with what the container has printed."""
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert self.process.poll() is None, f"it has ended: {self.output()[-4000:]}"
            assert time.monotonic() < deadline, f"nothing came of it: {self.output()[-4000:]}"
            time.sleep(0.3)

    def healthy(self) -> bool:
        """Whether the image's health check says so, run in the container as a runtime does."""
        kind, *check = self.image.config["Healthcheck"]["Test"]
        assert kind == "CMD"
        return self.execute(*check).returncode == 0

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs another program in the container."""
        user, group = self.image.config["User"].split(":")
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--uts", "--root", "--wd", "--", "setpriv"]
        privileges = [f"--reuid={user}", f"--regid={group}", "--clear-groups", "--no-new-privs", "--bounding-set=-all"]
        environment = ["env", "--ignore-environment", *self.image.environment(self.settings)]
        words = [*enter, *privileges, "--inh-caps=-all", "--", *environment, *command]
        return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)

    def stop(self) -> int:
        """Sends the image's stop signal, as `docker stop` does; the exit status."""
        os.kill(self.pid, signal.Signals[self.image.config["StopSignal"]])
        return self.process.wait(STOP_S)

    def kill(self) -> None:
        """Ends all of its processes at once, if it has not ended."""
        if self.process.poll() is None:
            os.kill(self.pid, signal.SIGKILL)  # unshare could not: a process that changes its user stays
            self.process.wait(STOP_S)
