"""Checks of `esteira doctor`, for states that no real server can be brought into."""

from __future__ import annotations

import resource
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from actors.doctor import confinement, decoders, disks, redis_server, settings, storage
from actors.doctor.finding import Level
from actors.doctor.redis_server import RedisStatus
from pipeline.config.settings import load_settings
from pipeline.media_types.decoding import sandbox_from
from pipeline.sandbox import Sandbox

HEALTHY = {
    "redis_version": "7.2.4",
    "maxmemory_policy": "noeviction",
    "aof_enabled": 1,
    "used_memory": 5_000_000,
    "maxmemory": 0,
    "role": "master",
}


def status(*, skew_s: float = 0.0, silent_s: tuple[float, ...] = (1.0,), **info: Any) -> RedisStatus:
    return RedisStatus(address="redis.example:6379", info=HEALTHY | info, skew_s=skew_s, silent_s=silent_s)


def test_healthy_redis_passes_every_check() -> None:
    assert {check(status()).level for check in redis_server.CHECKS} == {Level.OK}


@pytest.mark.parametrize(
    ("info", "level", "shown"),
    [
        ({"redis_version": "6.2.0"}, Level.OK, "Redis 6.2.0"),
        ({"redis_version": "7.2.4", "valkey_version": "8.0.1"}, Level.OK, "Valkey 8.0.1"),
        ({"redis_version": "10.0.0"}, Level.OK, "Redis 10.0.0"),
        ({"redis_version": "6.0.16"}, Level.WARN, "older than Redis 6.2"),
        ({"redis_version": "4.0.9"}, Level.FAIL, "too old"),
    ],
)
def test_redis_versions_before_6_2_are_reported(info: dict[str, str], level: Level, shown: str) -> None:
    finding = redis_server.check_version(status(**info))
    assert finding.level is level
    assert shown in finding.message


@pytest.mark.parametrize(
    ("used", "limit", "level"),
    [(10, 0, Level.OK), (79, 100, Level.OK), (81, 100, Level.WARN), (100, 100, Level.FAIL), (130, 100, Level.FAIL)],
)
def test_redis_memory_is_compared_with_its_limit(used: int, limit: int, level: Level) -> None:
    assert redis_server.check_memory(status(used_memory=used, maxmemory=limit)).level is level


@pytest.mark.parametrize(("skew_s", "level"), [(1.5, Level.OK), (2.5, Level.WARN), (-3600, Level.WARN)])
def test_clock_skew_above_two_seconds_warns(skew_s: float, level: Level) -> None:
    finding = redis_server.check_clock(status(skew_s=skew_s))
    assert finding.level is level
    assert (f"{skew_s:+.1f} s" in finding.message) is (level is Level.WARN)


def test_workers_without_a_recent_heartbeat_do_not_count() -> None:
    assert redis_server.check_workers(status(silent_s=(1.0, 11.0, 13.0))).message == "2 worker processes running"
    assert redis_server.check_workers(status(silent_s=(13.0,))).level is Level.WARN


def test_append_only_file_that_cannot_be_written_fails() -> None:
    assert redis_server.check_persistence(status(aof_last_write_status="err")).level is Level.FAIL


def test_too_low_limit_of_open_files_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    eight_threads = load_settings(_env_file=None, worker_threads=8)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 4096))
    assert settings.check_files(eight_threads).level is Level.OK
    monkeypatch.setattr(resource, "getrlimit", lambda _: (255, 4096))
    assert settings.check_files(eight_threads).level is Level.WARN


@pytest.mark.parametrize(
    ("networks", "level"),
    [
        ("", Level.OK),
        ("10.1.2.0/24,127.0.0.1/32", Level.OK),
        ("10.0.0.0/8", Level.OK),
        ("0.0.0.0/0", Level.WARN),
        ("::/0", Level.WARN),
        ("169.254.0.0/16", Level.WARN),
        ("10.1.2.0/24,128.0.0.0/1", Level.WARN),
    ],
)
def test_allowing_a_wide_private_network_warns(networks: str, level: Level) -> None:
    assert settings.check_private(load_settings(_env_file=None, fetch_allow_private=networks)).level is level


class CorruptingStorage:
    """Accepts everything and returns other bytes."""

    def put_chunks(self, _chunks: Any, _key: str) -> int:
        return 0

    def chunks(self, _key: str) -> Any:
        return iter([b"something else"])

    def delete(self, _key: str) -> None:
        """Nothing was stored."""


WEBHOOKS = '[{"name": "crm", "url": "https://crm.example/hook", "secret": "whsec_%s"}]' % ("A" * 32)


@pytest.mark.parametrize(
    ("env", "level", "shown"),
    [
        ({}, Level.WARN, "begin with http://127.0.0.1:8000, which crm cannot open"),
        ({"public_url": "https://media.example"}, Level.OK, "begin with https://media.example"),
        ({"event_url": "store"}, Level.OK, "EVENT_URL=store"),
        ({"api_token": None}, Level.OK, "links need an API_TOKEN"),
        ({"webhook_endpoints": WEBHOOKS.replace("https://crm.example", "http://127.0.0.1:9")}, Level.OK, "begin with"),
    ],
)
def test_links_that_a_receiver_elsewhere_cannot_open_warn(env: dict[str, str], level: Level, shown: str) -> None:
    given = {"api_token": "0123456789abcdef", "webhook_endpoints": WEBHOOKS, **env}
    finding = settings.check_event_urls(load_settings(**given))
    assert (finding.level, shown in finding.message) == (level, True), finding


def test_storage_that_returns_other_bytes_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "open_storage", lambda _: CorruptingStorage())
    assert storage.check_storage(load_settings(_env_file=None)).level is Level.FAIL


class SandboxStub:
    """Answers every call with the same value."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self._answer = answer

    def call(self, _function: str) -> dict[str, Any]:
        return self._answer


def test_missing_codecs_are_named() -> None:
    sandbox: Any = SandboxStub({"version": "PyAV 18", "missing": ["amrnb", "opus"]})
    finding = decoders.check_library("codecs", sandbox, "streams")
    assert (finding.level, finding.message) == (Level.FAIL, "PyAV 18 is built without amrnb, opus")


def test_installed_libraries_lack_no_format() -> None:
    with closing(sandbox_from(load_settings(_env_file=None), processes=1, preload=decoders.MODULES)) as sandbox:
        findings = [decoders.check_library(check, sandbox, name) for check, name in decoders.LIBRARIES.items()]
    assert [finding.message for finding in findings if finding.level is not Level.OK] == []


def test_library_that_cannot_be_loaded_fails() -> None:
    sandbox = Sandbox(memory_mb=512, cpu_s=5, wall_s=20)
    try:
        finding = decoders.check_library("codecs", sandbox, "no_such_library")
    finally:
        sandbox.close()
    assert finding.level is Level.FAIL
    assert "cannot be loaded" in finding.message


def state(*, failed: dict[str, int], seccomp: str) -> confinement.State:
    return confinement.State(failed, landlock=7, network="net:[1]", threads=16, status={"Seccomp": seccomp})


def test_the_filter_of_a_container_does_not_pass_for_that_of_decoders() -> None:
    assert confinement.check_filter(state(failed={}, seccomp="2")).level is Level.OK
    assert confinement.check_filter(state(failed={"seccomp": 1}, seccomp="2")).level is Level.WARN


def test_decoders_without_filter_or_network_namespace_warn() -> None:
    assert confinement.check_filter(state(failed={}, seccomp="0")).level is Level.WARN
    assert confinement.check_network(str(Path("/proc/self/ns/net").readlink())).level is Level.WARN


MOUNTS = """\
22 1 8:1 / / rw - ext4 /dev/sda rw
30 22 0:40 / /srv/my\\040nas rw shared:1 - nfs4 nas:/x rw
31 30 0:41 / /srv/my\\040nas/fast rw - fuse.sshfs host:/ rw
32 22 0:42 / /srv rw - xfs /dev/sdb rw
"""


def test_filesystem_is_that_of_the_nearest_mount(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mountinfo = tmp_path / "mountinfo"
    nas = tmp_path / "my nas"
    nas.mkdir()
    mountinfo.write_text(MOUNTS.replace("/srv", str(tmp_path)))
    monkeypatch.setattr(disks, "MOUNTS", mountinfo)
    assert disks.filesystem(Path("/usr")) == "ext4"
    assert disks.filesystem(tmp_path / "not" / "yet") == "xfs"
    assert disks.filesystem(nas / "esteira.db") == "nfs4"
    (nas / "fast").mkdir()
    assert disks.filesystem(nas / "fast") == "fuse.sshfs"


@pytest.mark.parametrize(
    ("kind", "network"),
    [
        ("nfs", True),
        ("nfs4", True),
        ("cifs", True),
        ("fuse.sshfs", True),
        ("9p", True),
        ("ext4", False),
        ("tmpfs", False),
    ],
)
def test_network_filesystems_are_recognized(kind: str, network: bool) -> None:
    assert disks.is_network(kind) is network
