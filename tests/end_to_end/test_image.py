"""The image of deploy/Containerfile: built, and run with a read-only root, as its user, from hook to storage."""

from __future__ import annotations

import base64
import json
import re
import shutil
import signal
import socket
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import missing
from tests.support.containers import Builder, Container, Image, unavailable
from tests.support.system import photo
from tests.support.valkey import ValkeyServer, free_port

# Mostly the build: half a minute for the base, half a minute for the image.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

USER = 10001
TOKEN = "a token for the tests of the image"
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
MAX_PACKAGES_MB = 420
BUILD_TOOLS = ("cc", "gcc", "make", "ld", "uv", "pip", "pip3", "git", "npm")


@pytest.fixture(scope="module")
def builder() -> Iterator[Builder]:
    if lacks := unavailable():
        missing(lacks)
    built = Builder(Path(tempfile.mkdtemp(prefix="esteira-image-")))
    yield built
    built.remove()


@pytest.fixture(scope="module")
def image(builder: Builder) -> Image:
    return builder.build()


@pytest.fixture
def volume() -> Iterator[Path]:
    """A new volume, with the owner and the mode of /data in the image."""
    folder = Path(tempfile.mkdtemp(prefix="esteira-volume-"))
    shutil.chown(folder, USER, USER)
    yield folder
    shutil.rmtree(folder)


def settings(**more: str) -> dict[str, str]:
    return {"PORT": str(free_port()), "API_TOKEN": TOKEN, "WEB_CONCURRENCY": "1", "WORKER_THREADS": "2", **more}


def call(container: Container, path: str, body: dict[str, Any] | None = None) -> tuple[int, bytes]:
    """The status and the body of the answer of the web app."""
    data = None if body is None else json.dumps(body).encode()
    url = f"http://127.0.0.1:{container.settings['PORT']}{path}"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=data, headers=HEADERS), timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:  # it does not listen yet
        return 0, b""


def hand_over(container: Container, message_id: str, content: bytes) -> str:
    """Posts a file as a listener does, without a gateway; returns the attachment's id."""
    container.wait_until(lambda: call(container, "/readyz")[0] == 200)
    data = base64.b64encode(content).decode()
    message = {"session": "shop", "message_id": message_id, "kind": "image", "data": data}
    status, answer = call(container, "/hooks/media", message)
    assert status == 202, answer
    return str(json.loads(answer)["accepted"][0]["id"])


def wait_for_content(container: Container, media_id: str) -> bytes:
    """The stored content, once the attachment is done."""

    def done() -> bool:
        media = json.loads(call(container, f"/media/{media_id}")[1])
        assert media["status"] in {"received", "stored", "done"}, media
        return bool(media["status"] == "done")

    container.wait_until(done)
    return call(container, f"/media/{media_id}/content")[1]


def in_container(container: Container, code: str) -> str:
    finished = container.execute("python", "-c", code)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


# Names of the processes that have ended and were not reaped.
ZOMBIES = """
from pathlib import Path
stats = [path.read_text() for path in Path('/proc').glob('[0-9]*/stat')]
print([stat for stat in stats if stat.rsplit(')', 1)[1].split()[0] == 'Z'])
"""
KILL_WORKERS = """
import os
from pathlib import Path
found = [int(path.parent.name) for path in Path('/proc').glob('[0-9]*/cmdline') if b'dramatiq' in path.read_bytes()]
found.remove(os.getpid())
[os.kill(pid, 9) for pid in found]
print(len(found))
"""


def test_image_names_its_user_signal_health_check_and_labels(image: Image) -> None:
    config = image.config
    assert config["User"] == f"{USER}:{USER}", "a number, so that Kubernetes can see that it is not root"
    assert (config["StopSignal"], config["Volumes"], config["ExposedPorts"]) == (
        "SIGTERM",
        {"/data": {}},
        {"8000/tcp": {}},
    )
    assert config["Healthcheck"]["Test"] == ["CMD", "python", "-m", "esteira.container.health"]
    labels = {name.rpartition(".")[2] for name in config["Labels"] if name.startswith("org.opencontainers.image.")}
    assert {"title", "description", "licenses", "version", "revision"} <= labels


def test_image_runs_in_buildah_as_its_user(builder: Builder, image: Image) -> None:
    command = ("python", "-c", "import esteira, os; print(os.getuid())")
    assert builder.run("run", "--isolation=chroot", image.container, "--", *command) == str(USER)


def test_image_holds_no_build_tools_no_setuid_programs_and_no_files_of_the_project(image: Image) -> None:
    programs = {path.name for path in image.root.glob("**/bin/*")}
    assert not programs & set(BUILD_TOOLS)
    ordinary = [path for path in image.root.rglob("*") if path.is_file() and not path.is_symlink()]
    assert not [path for path in ordinary if path.stat().st_mode & 0o6000]
    assert not [
        path for path in ordinary if path.suffix in {".h", ".pxd", ".pyx"} and image.site_packages in path.parents
    ]
    assert not (image.root / "src").exists()
    assert not list((image.root / "etc/esteira").iterdir())


def test_image_has_bytecode_and_a_bounded_size(image: Image) -> None:
    """Without bytecode each start would compile everything again, because the root is read-only."""
    assert (image.site_packages / "pipeline/config/__pycache__").is_dir()
    files = [path for path in image.site_packages.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MAX_PACKAGES_MB * 1e6


def test_image_names_the_licences_of_every_bundled_library(image: Image) -> None:
    notices = (image.root / "usr/share/doc/esteira/NOTICES.md").read_text()
    assert (image.root / "usr/share/doc/esteira/LICENSE").is_file()
    copyleft = {"x264", "x265", "avcodec", "avformat", "heif", "de265", "mp3lame", "gnutls", "nettle", "gmp", "asound"}
    names = {"mp3lame": "LAME", "gnutls": "GnuTLS", "nettle": "Nettle", "gmp": "GMP"}
    bundled = {path.name for path in image.site_packages.glob("*.libs/*")}
    for library in copyleft:
        assert any(re.match(rf"lib{library}\b", name) for name in bundled), f"{library} is no longer in the wheels"
        assert names.get(library, library) in notices


def test_container_takes_a_file_from_hook_to_storage_and_goes_on_in_a_newer_image(
    builder: Builder, image: Image, volume: Path
) -> None:
    """`esteira start` on a read-only root; killed at once; then a newer image on the same volume."""
    first, second = photo(), photo()
    with image.running("start", name="first", volume=volume, **settings()) as container:
        assert not container.healthy()
        media_id = hand_over(container, "M1", first)
        assert wait_for_content(container, media_id) == first
        assert container.healthy()
        assert in_container(container, "import os; print(os.getuid(), os.access('/etc', os.W_OK))") == f"{USER} False\n"
        paused = container.execute("esteira", "pause", "stage", "persist", "--reason", "upgrade")
        assert paused.returncode == 0, paused.stderr
        waiting = hand_over(container, "M2", second)
        assert int(in_container(container, KILL_WORKERS)) >= 2
        container.wait_until(lambda: "started again" in container.output())
        container.wait_until(lambda: in_container(container, ZOMBIES) == "[]\n")
        container.kill()

    newer = builder.mounted()
    metadata = next(newer.site_packages.glob("esteira-*.dist-info")) / "METADATA"
    metadata.write_text(re.sub(r"(?m)^Version: .*$", "Version: 99.0.0", metadata.read_text()))
    with newer.running(name="second", volume=volume, **settings()) as container:
        container.wait_until(container.healthy)
        assert container.execute("esteira", "resume", "--all").returncode == 0
        assert wait_for_content(container, waiting) == second
        assert call(container, f"/media/{media_id}/content")[1] == first
        assert "99.0.0" in container.execute("esteira", "workers", "--json").stdout
        assert container.stop() == 0, container.output()
    assert not [path for path in volume.rglob("*") if path.stat().st_uid != USER]


def test_containers_for_each_part_share_a_volume_and_a_valkey(image: Image, volume: Path, valkey: ValkeyServer) -> None:
    env = settings(REDIS_URL=valkey.url)
    assert "created" in image.run("migrate", volume=volume, **env).stdout
    content = photo()
    with (
        image.running("web", name="web", volume=volume, **env) as web,
        image.running("worker", name="worker", volume=volume, **env) as worker,
    ):
        media_id = hand_over(web, "M1", content)
        assert wait_for_content(web, media_id) == content
        worker.wait_until(worker.healthy)
        assert web.healthy()
        assert web.stop() == 128 + signal.SIGTERM, "uvicorn raises the signal again when it has closed everything"
        assert "Application shutdown complete" in web.output()
        assert worker.stop() == 0, worker.output()


def only_line(image: Image, volume: Path, *arguments: str, **options: str) -> str:
    """The one line that a container prints that cannot start."""
    finished = image.run(*arguments, volume=volume, **options)
    assert finished.returncode not in {0, -9, 137}, finished.stdout
    lines = (finished.stdout + finished.stderr).splitlines()
    assert len(lines) == 1, "\n".join(lines)
    return lines[0]


@pytest.mark.parametrize("role", ["start", "migrate"])
def test_container_with_the_volume_of_another_user_says_so_in_a_line(image: Image, volume: Path, role: str) -> None:
    shutil.chown(volume, 4242, 4242)
    line = only_line(image, volume, role, **settings())
    assert "/data" in line
    assert "permission" in line.lower()


def test_container_of_another_user_says_so_in_a_line(image: Image, volume: Path) -> None:
    """As with a wrong PUID or `user:`."""
    assert "Permission denied" in only_line(image, volume, "start", user="4242:4242", **settings())


def test_container_with_a_read_only_volume_says_so_in_a_line(image: Image, volume: Path) -> None:
    assert "Read-only file system" in only_line(image, volume, "start", mode="ro", **settings())


def test_container_whose_port_is_in_use_says_so_in_a_line(image: Image, volume: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert f"PORT: cannot listen on 0.0.0.0:{port}" in only_line(image, volume, "start", **settings(PORT=port))


def test_container_with_too_little_memory_says_so_in_a_line(image: Image, volume: Path) -> None:
    line = only_line(image, volume, "start", memory=str(64 * 1024 * 1024), **settings())
    assert "memory limit of this container is 64 MB" in line
    assert not list(volume.iterdir())


def test_container_with_a_wrong_setting_says_so_in_a_line(image: Image, volume: Path) -> None:
    for role in ("start", "worker"):
        assert "WORKER_THREADS" in only_line(image, volume, role, **settings(WORKER_THREADS="many"))
