"""The files in deploy/ that run the image: what their schemas do not say. scripts/lint checks the schemas."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from esteira.cli.supervisor.commands import REQUEUE_S
from esteira.cli.supervisor.part import GRACE_S
from esteira.web.__main__ import SHUTDOWN_GRACE_S
from pipeline.config.settings import Settings

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
COMPOSE, SWARM = DEPLOY / "compose.yaml", DEPLOY / "swarm.yaml"
COOLIFY = DEPLOY / "templates/coolify/esteira.yaml"
CAPROVER = DEPLOY / "templates/caprover/esteira.yml"
DOKPLOY = DEPLOY / "templates/dokploy/esteira"
EASYPANEL = DEPLOY / "templates/easypanel"
TEMPLATES = [COOLIFY, DOKPLOY / "docker-compose.yml"]
SERVERS = {"valkey", "postgres"}
UNITS_S = {"s": 1, "m": 60}
MAGIC = re.compile(r"SERVICE_[A-Z0-9_]+$")  # Coolify's own


def services(path: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text())["services"]
    return found


def environment(service: dict[str, Any]) -> dict[str, str]:
    """Names and values, whether written as a list or as a mapping."""
    given = service.get("environment", {})
    if isinstance(given, list):
        given = dict([*item.split("=", 1), ""][:2] for item in given)
    return {name: str(value) for name, value in given.items()}


def seconds(text: str) -> int:
    return int(text[:-1]) * UNITS_S[text[-1]]


@pytest.mark.parametrize("path", [COMPOSE, SWARM, *TEMPLATES], ids=lambda path: str(path.relative_to(DEPLOY)))
def test_services_have_a_read_only_root_and_no_capabilities(path: Path) -> None:
    for name, service in services(path).items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert path == SWARM or service["security_opt"] == ["no-new-privileges:true"], (
            f"{name}; Swarm has no such option"
        )


@pytest.mark.parametrize("path", [COMPOSE, SWARM], ids=["compose", "swarm"])
def test_services_have_limits_and_servers_are_not_published(path: Path) -> None:
    found = services(path)
    for name, service in found.items():
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}, name
    for name in SERVERS:
        assert "ports" not in found[name]
        assert found[name]["networks"] == ["servers"]
    assert yaml.safe_load(path.read_text())["networks"]["servers"]["internal"]


@pytest.mark.parametrize("path", [COMPOSE, SWARM], ids=["compose", "swarm"])
def test_services_may_take_the_time_that_they_need_to_stop(path: Path) -> None:
    found = services(path)
    assert seconds(found["web"]["stop_grace_period"]) > SHUTDOWN_GRACE_S
    assert seconds(found["worker"]["stop_grace_period"]) > REQUEUE_S


@pytest.mark.parametrize("path", TEMPLATES, ids=["coolify", "dokploy"])
def test_templates_give_start_the_time_for_two_groups_of_parts(path: Path) -> None:
    assert seconds(services(path)["esteira"]["stop_grace_period"]) > 2 * GRACE_S


def test_names_in_the_environment_are_settings() -> None:
    names = {
        name
        for path in [COMPOSE, SWARM, *TEMPLATES]
        for service in services(path).values()
        for name in environment(service)
    }
    names |= {name for service in services(CAPROVER).values() for name in environment(service)}
    json_env = json.loads((EASYPANEL / "template.json").read_text())["services"][0]["data"]["env"]
    names |= {line.split("=")[0] for line in json_env.splitlines()}
    names |= set(re.findall(r"`([A-Z_]+)=", (EASYPANEL / "index.ts").read_text()))
    own = {name for name in names if not name.startswith("POSTGRES_") and not MAGIC.match(name)}
    assert own <= {name.upper() for name in Settings.model_fields}


def test_files_hold_no_secret() -> None:
    for path in [COMPOSE, SWARM, CAPROVER, *TEMPLATES]:
        for name, service in services(path).items():
            for variable, value in environment(service).items():
                if re.search("TOKEN|SECRET|PASSWORD|KEY", variable):
                    assert value.startswith(("$", "/run/secrets/")), f"{path.name} {name} {variable}"
    assert services(COMPOSE)["web"]["env_file"] == [".env"]


def test_image_tags_are_the_version_of_the_project() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    tagged = {
        path: re.findall(r"\besteira:(\d[\w.]*)", path.read_text()) for path in DEPLOY.rglob("*") if path.is_file()
    }
    assert {path.name for path, tags in tagged.items() if tags} >= {
        "Containerfile",
        "compose.yaml",
        "swarm.yaml",
        "template.json",
    }
    assert {tag for tags in tagged.values() for tag in tags} == {version}
    assert f"ARG VERSION={version}\n" in (DEPLOY / "Containerfile").read_text()
    assert json.loads((DOKPLOY / "meta.json").read_text())["version"] == version


def test_caprover_template_keeps_the_rules_of_its_repository() -> None:
    """Those that its script validate_apps.js checks; and every variable is declared and used."""
    template = yaml.safe_load(CAPROVER.read_text())
    app = template["caproverOneClickApp"]
    assert str(template["captainVersion"]) == "4"
    assert 0 < len(app["description"]) <= 200
    assert app["instructions"]["start"]
    assert app["instructions"]["end"]
    declared = {variable["id"] for variable in app["variables"]}
    used = set(re.findall(r"\$\$cap_\w+", json.dumps(template["services"])))
    predefined = {"$$cap_appname", "$$cap_root_domain"}
    assert {name.removesuffix("-data") for name in used} - predefined == declared


def test_dokploy_template_keeps_the_rules_of_its_repository() -> None:
    meta = json.loads((DOKPLOY / "meta.json").read_text())
    assert meta["id"] == DOKPLOY.name
    assert meta["tags"]
    assert set(meta["links"]) >= {"github", "website", "docs"}
    assert (DOKPLOY / meta["logo"]).is_file()
    template = tomllib.loads((DOKPLOY / "template.toml").read_text())
    (service,) = services(DOKPLOY / "docker-compose.yml").values()
    assert "ports" not in service
    given = {line.split("=")[0] for line in template["config"]["env"]}
    assert given == set(re.findall(r"\$\{(\w+)\}", json.dumps(service)))
    domain = template["config"]["domains"][0]
    assert (domain["serviceName"], domain["port"]) == ("esteira", 8000)


def test_coolify_template_names_its_port_in_header_and_magic_variable() -> None:
    header = dict(re.findall(r"^# (\w+): (.+)$", COOLIFY.read_text(), re.MULTILINE))
    assert header["port"] == "8000"
    assert "SERVICE_URL_ESTEIRA_8000" in environment(services(COOLIFY)["esteira"])
    assert {"slogan", "tags", "category", "logo"} <= set(header)
