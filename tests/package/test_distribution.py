"""What is in the wheel and the sdist, and that every locked package has a wheel for all supported machines."""

from __future__ import annotations

import re
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

from pipeline.extras import EXTRAS
from tests.support.packages import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OLDEST_GLIBC, GLIBC = 17, 36  # minor versions: manylinux2014, Debian 12


def test_wheel_has_all_files_of_the_packages(wheel: Path) -> None:
    folders = [ROOT / name for name in ("actors", "esteira", "pipeline")]
    files = {str(file.relative_to(ROOT)) for folder in folders for file in folder.rglob("*") if file.is_file()}
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == {name for name in files if "__pycache__" not in name}
    assert {Path(name).suffix for name in packed} >= {".py", ".lua", ".css", ".js", ".typed", ".example"}


def test_wheel_has_license_types_and_the_example_of_settings(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert archive.read("esteira/cli/env.example") == (ROOT / ".env.example").read_bytes()
        (licence,) = (name for name in names if name.endswith(".dist-info/licenses/LICENSE"))
        assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()
    assert {"actors/py.typed", "esteira/py.typed", "pipeline/py.typed"} <= set(names)


def test_sdist_has_what_a_build_and_a_reader_need(dist: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", ".env.example", "README.md", "CHANGELOG.md", "pyproject.toml", "uv.lock", "tests"} <= names | {
        name.partition("/")[0] for name in names
    }
    assert not [name for name in names if name.startswith((".venv", ".tools", "var/", ".git/"))]


def test_every_extra_of_the_project_has_its_modules_in_the_table() -> None:
    assert set(EXTRAS) | {"all"} == set(PROJECT["optional-dependencies"])


def test_version_is_the_newest_of_the_changelog() -> None:
    versions = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == PROJECT["version"]


def installed_packages() -> Iterator[dict[str, Any]]:
    """The packages of uv.lock that an installation with all extras has."""
    packages = {package["name"]: package for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]}
    waiting, seen = [("esteira", tuple(PROJECT["optional-dependencies"]))], set()
    while waiting:
        name, extras = waiting.pop()
        package = packages[name]
        optional = package.get("optional-dependencies", {})
        for needed in [
            *package.get("dependencies", []),
            *(item for extra in extras for item in optional.get(extra, [])),
        ]:
            if "win32" not in needed.get("marker", ""):
                step = (needed["name"], tuple(needed.get("extra", ())))
                waiting += [step] if step not in seen else []
                seen.add(step)
    yield from (packages[name] for name in sorted({name for name, _ in seen} - {"esteira"}))


def tags_of(minor: int, machine: str) -> set[Tag]:
    """The tags of the wheels that Python 3.`minor` installs on this kind of machine."""
    platforms = [f"manylinux_2_{glibc}_{machine}" for glibc in range(GLIBC, OLDEST_GLIBC - 1, -1)]
    platforms += [f"manylinux2014_{machine}", f"linux_{machine}"]
    named = {"python_version": (3, minor), "platforms": platforms}
    return {*cpython_tags(**named), *compatible_tags(**named)}  # type: ignore[arg-type]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("minor", [11, 12, 13])
def test_every_locked_package_has_a_wheel(minor: int, machine: str) -> None:
    supported = tags_of(minor, machine)
    without = [
        package["name"]
        for package in installed_packages()
        if not any(
            parse_wheel_filename(wheel["url"].rpartition("/")[2])[3] & supported for wheel in package.get("wheels", [])
        )
    ]
    assert without == []
