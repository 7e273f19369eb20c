"""Why a folder cannot be written: its owner, this user, and what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.security.folder_faults import folder_fault, write_fault
from tests.support.disks import fill_disk, small_disk

ROOT = Path(__file__).parents[3]
OTHER = 54_321
# Root may write everywhere, so the check runs as root without this right, which a container often lacks too.
AS_PLAIN_ROOT = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search,-fowner,-chown")
CODE = "import sys; from pathlib import Path; from pipeline.security.folder_faults import folder_fault"
CODE += "; print(folder_fault(Path(sys.argv[1])))"


def fault_without_rights(folder: Path) -> str:
    command = [*AS_PLAIN_ROOT, sys.executable, "-c", CODE, str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def test_folder_that_can_be_written_has_no_fault_and_is_made(tmp_path: Path) -> None:
    assert folder_fault(tmp_path / "a" / "b") is None
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a folder of another user")
@pytest.mark.parametrize("below", ["", "x/y"])
def test_folder_of_another_user_names_both_users_and_the_remedy(tmp_path: Path, below: str) -> None:
    folder = tmp_path / "volume"
    folder.mkdir(mode=0o755)
    os.chown(folder, OTHER, OTHER)
    path = folder / below
    remedy = f"make it as root with `install -d -o 0 -g 0 {path}`"
    assert fault_without_rights(path) == (
        f"cannot write to {path}: Permission denied; {folder} belongs to user {OTHER} (mode 0755), and this process "
        f"runs as user 0, group 0: {remedy if below else f'run it as user {OTHER}, or `chown -R 0 {folder}`'}"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write in any folder of its own")
def test_own_folder_without_permission_names_the_command(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    assert f"chmod u+rwx {folder}" in str(folder_fault(folder))


def test_full_disk_asks_for_space(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", megabytes=1) as disk:
        fill_disk(disk)
        fault = str(folder_fault(disk))
    assert fault.endswith("No space left on device; free space on its disk, or choose another path")


def test_read_only_file_system_asks_for_a_volume(tmp_path: Path) -> None:
    error = OSError(30, "Read-only file system")
    assert "mount a volume there" in write_fault(tmp_path, error)
    with small_disk(tmp_path / "disk", megabytes=1) as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert "its file system is read-only" in str(folder_fault(disk))


def test_file_in_place_of_a_folder_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert str(folder_fault(file)).startswith(f"cannot write to {file}: ")
