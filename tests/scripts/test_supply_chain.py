"""The checks of dependencies: uv's hash, the bill of materials, known vulnerabilities, undeclared imports."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from werkzeug import Request, Response
from werkzeug.serving import make_server

ROOT = Path(__file__).parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FAKE_PYTHON = """#!/bin/sh
printf '%s\\n' "$@" > "$ARGUMENTS"
mkdir -p .tools/bin && printf '#!/bin/sh\\n' > .tools/bin/uv && chmod +x .tools/bin/uv
exit "${STATUS:-0}"
"""


def run(*command: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=200, check=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the scripts, with a `python3` that only notes its arguments, and without uv."""
    (tmp_path / "scripts").mkdir()
    for name in ("environment", "uv.txt"):
        shutil.copy(ROOT / "scripts" / name, tmp_path / "scripts" / name)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python3").write_text(FAKE_PYTHON)
    (tmp_path / "bin/python3").chmod(0o755)
    for tool in ("dirname", "sed", "mkdir", "chmod"):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool) or tool)
    return tmp_path


def source_environment(project: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path, arguments = str(project / "bin"), str(project / "arguments")
    command = (shutil.which("sh") or "/bin/sh", "-c", '. scripts/environment; echo "$UV"', "scripts/x")
    return run(*command, cwd=project, PATH=path, ARGUMENTS=arguments, **environment)


def test_uv_is_installed_by_its_hash(project: Path) -> None:
    result = source_environment(project)
    assert result.stdout == ".tools/bin/uv\n", result.stderr
    arguments = (project / "arguments").read_text().split("\n")
    assert {"--require-hashes", "--no-deps", "scripts/uv.txt", "--target"} <= set(arguments)


def test_uv_of_another_version_is_replaced_and_the_pinned_one_is_kept(project: Path) -> None:
    version = re.findall(r"^uv==(\S+)", (ROOT / "scripts/uv.txt").read_text(), re.MULTILINE)[0]
    (project / ".tools/uv-0.1.0.dist-info").mkdir(parents=True)
    source_environment(project)
    assert "--upgrade" in (project / "arguments").read_text()
    (project / "arguments").unlink()
    (project / f".tools/uv-{version}.dist-info").mkdir()
    assert source_environment(project).stdout == ".tools/bin/uv\n"
    assert not (project / "arguments").exists()


def test_uv_that_cannot_be_installed_is_reported(project: Path) -> None:
    result = source_environment(project, STATUS="1")
    assert result.returncode == 1
    assert "could not be installed" in result.stderr


def test_uv_has_a_hash_for_every_wheel_and_a_version_that_the_project_accepts() -> None:
    text = (ROOT / "scripts/uv.txt").read_text()
    [(major, minor)] = re.findall(r"^uv==(\d+)\.(\d+)\.\d+ \\$", text, re.MULTILINE)
    hashes = re.findall(r"--hash=sha256:([0-9a-f]{64})\b", text)
    assert len(set(hashes)) == len(hashes) >= 10
    assert PROJECT["tool"]["uv"]["required-version"] == ">=0.9"
    assert (int(major), int(minor)) >= (0, 9)


@pytest.fixture(scope="module")
def bill(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("sbom") / "esteira.cdx.json"
    result = run("scripts/sbom", str(path))
    assert result.returncode == 0, result.stderr
    return path.read_text()


def test_bill_of_materials_is_valid_cyclonedx(bill: str) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(bill) is None


def test_bill_of_materials_has_every_dependency_with_its_hash_and_no_development_tool(bill: str) -> None:
    components = {component["name"]: component for component in json.loads(bill)["components"]}
    declared = {re.split(r"[\[<>=,]", line)[0] for line in PROJECT["project"]["dependencies"]}
    assert declared <= set(components)
    assert not {"pytest", "mypy", "moto", "pip-audit"} & set(components)
    for component in components.values():
        [*hashes] = (one for link in component["externalReferences"] for one in link["hashes"])
        assert component["purl"].startswith(f"pkg:pypi/{component['name']}@")
        assert {one["alg"] for one in hashes} == {"SHA-256"}


@contextmanager
def vulnerability_service(findings: dict[str, dict[str, Any]]) -> Iterator[str]:
    """A server that answers OSV's queries: for a package in `findings` with that vulnerability, else with none."""

    def answer(request: Request) -> Response:
        name = json.loads(request.get_data() or b"{}").get("package", {}).get("name")
        body = {"vulns": [findings[name]]} if name in findings else {}
        return Response(json.dumps(body), mimetype="application/json")

    server = make_server("127.0.0.1", 0, Request.application(answer), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()


def test_audit_is_skipped_without_a_connection() -> None:
    result = run("scripts/audit", OSV_URL="http://127.0.0.1:9")
    assert (result.returncode, result.stdout) == (0, "skipped: http://127.0.0.1:9 cannot be reached\n")


def test_audit_reports_a_known_vulnerability() -> None:
    finding = {
        "id": "PYSEC-2026-1",
        "modified": "2026-01-01T00:00:00Z",
        "affected": [{"package": {"name": "requests", "ecosystem": "PyPI"}, "ranges": []}],
    }
    with vulnerability_service({"requests": finding}) as url:
        result = run("scripts/audit", OSV_URL=url)
    assert result.returncode == 1, result.stderr
    assert "PYSEC-2026-1" in result.stdout


def test_audit_passes_without_a_known_vulnerability() -> None:
    with vulnerability_service({}) as url:
        result = run("scripts/audit", OSV_URL=url)
    assert result.returncode == 0, result.stderr
    assert "skipped" not in result.stdout


@pytest.mark.parametrize("imported", ["moto", "attr"])
def test_import_of_an_undeclared_package_is_refused(tmp_path: Path, imported: str) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline/module.py").write_text(f"import {imported}\n")
    result = run(str(Path(sys.executable).parent / "deptry"), ".", cwd=tmp_path)
    assert result.returncode == 1
    assert f"'{imported}' imported" in result.stderr + result.stdout
