"""A real PgBouncer in front of a PostgreSQL server of the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from tests.conftest import missing
from tests.support.postgres import PASSWORD, USER
from tests.support.valkey import free_port
from tests.support.waiting import wait_until


class PgBouncer:
    """A PgBouncer in transaction mode, for all databases of a server; `pool_size` connections to each."""

    def __init__(self, program: str, folder: Path, server_url: str, *, pool_size: int) -> None:
        self.port = free_port()
        server = conninfo_to_dict(server_url)
        lines = [
            "[databases]",
            f"* = host={server['host']} port={server['port']}",
            "[pgbouncer]",
            "listen_addr = 127.0.0.1",
            f"listen_port = {self.port}",
            "unix_socket_dir =",
            "auth_type = plain",
            f"auth_file = {folder}/users",
            "pool_mode = transaction",
            f"default_pool_size = {pool_size}",
            "query_wait_timeout = 5",
            "server_login_retry = 1",
            f"admin_users = {USER}",
        ]
        (folder / "users").write_text(f'"{USER}" "{PASSWORD}"\n')
        (folder / "pgbouncer.ini").write_text("\n".join(lines) + "\n")
        # It refuses to run as root.
        unprivileged = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if unprivileged:
            for path in (folder, *folder.iterdir()):
                shutil.chown(path, "postgres")
        self._log = folder / "log"
        with self._log.open("wb") as log:
            command = [*unprivileged, program, str(folder / "pgbouncer.ini")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def url(self, database_url: str) -> str:
        """The URL of a database of the server, through PgBouncer."""
        name = conninfo_to_dict(database_url)["dbname"]
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{name}"

    def wait(self, database_url: str) -> None:
        wait_until(lambda: self._answers(self.url(database_url)), 10)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)

    def _answers(self, url: str) -> bool:
        try:
            with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
                return connection.execute("SELECT 1").fetchone() == (1,)
        except psycopg.OperationalError:
            assert self._process.poll() is None, self._log.read_text()
            return False


@contextmanager
def running_pgbouncer(server_url: str, *, pool_size: int = 3) -> Iterator[PgBouncer]:
    """A running PgBouncer. Without the program the test is skipped, and fails in CI."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        missing("PgBouncer")
        raise AssertionError
    folder = Path(tempfile.mkdtemp(prefix="pgb"))
    try:
        bouncer = PgBouncer(program, folder, server_url, pool_size=pool_size)
        try:
            bouncer.wait(server_url)
            yield bouncer
        finally:
            bouncer.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
