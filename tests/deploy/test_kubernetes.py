"""The Kubernetes manifests, against the published schemas and the rules of the Pod Security Standard `restricted`.

No cluster runs them here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from esteira.cli.supervisor.commands import REQUEUE_S
from esteira.container.roles import ROLES
from esteira.web.__main__ import SHUTDOWN_GRACE_S
from esteira.web.app import build_app
from pipeline.config.settings import Settings, load_settings
from tests.support.system import ROOT
from tests.support.web import app_routes

FOLDER = ROOT / "deploy" / "kubernetes"
VERSIONS = ("1.27", "1.37")  # the oldest that clouds still offer for a fee, and the newest with schemas
KUSTOMIZATIONS = sorted(FOLDER.rglob("kustomization.yaml"))
PATCHES = {"mount.yaml"}  # JSON patches, which have no kind


def documents(path: Path) -> list[Any]:
    return list(yaml.safe_load_all(path.read_text()))


def manifests() -> Iterator[tuple[Path, Any]]:
    for path in sorted(FOLDER.rglob("*.yaml")):
        if path.name not in {"kustomization.yaml", *PATCHES}:
            yield from ((path, document) for document in documents(path))


def pods() -> dict[str, Any]:
    """The pod of each Deployment, Job and StatefulSet."""
    return {
        document["metadata"]["name"]: document["spec"]["template"]["spec"]
        for _, document in manifests()
        if "template" in document.get("spec", {})
    }


PODS = pods()


@pytest.mark.parametrize("version", VERSIONS)
def test_manifests_are_valid(version: str) -> None:
    checked = [kubernetes_validate.validate(document, version, strict=True) for _, document in manifests()]
    assert len(checked) > 15


@pytest.mark.parametrize("path", KUSTOMIZATIONS, ids=lambda path: path.parent.name)
def test_kustomization_lists_every_file_of_its_folder(path: Path) -> None:
    [found] = documents(path)
    listed = [*found.get("resources", ()), *found.get("components", ())]
    listed += [patch["path"] for patch in found.get("patches", ())]
    assert all((path.parent / name).exists() for name in listed)
    files = {file.name for file in path.parent.glob("*.yaml")} - {"kustomization.yaml"}
    assert {name for name in listed if name.endswith(".yaml")} == files


@pytest.mark.parametrize("name", PODS)
def test_pods_are_restricted(name: str) -> None:
    pod = PODS[name]
    context = pod["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] > 0
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert pod["automountServiceAccountToken"] is False
    for volume in pod.get("volumes", ()):
        assert set(volume) - {"name"} <= {"emptyDir", "configMap", "secret", "persistentVolumeClaim"}
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"memory"} <= set(container["resources"]["limits"])


def test_containers_run_what_the_image_has() -> None:
    started = {name: pod["containers"][0]["args"] for name, pod in PODS.items() if name != "esteira-valkey"}
    assert started == {"esteira-migrate": ["migrate"], "esteira-web": ["web"], "esteira-worker": ["worker"]}
    assert {"web", "worker"} <= set(ROLES)  # all other words are commands of `esteira`


def test_probes_ask_paths_of_the_web_app(tmp_path: Path) -> None:
    paths = {route.path for route in app_routes(build_app(load_settings(_env_file=None, var_dir=tmp_path)))}
    [container] = PODS["esteira-web"]["containers"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["path"].partition("?")[0] in paths


def test_pods_have_the_time_that_their_end_takes() -> None:
    web, worker = PODS["esteira-web"], PODS["esteira-worker"]
    [sleep] = web["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1:]
    assert web["terminationGracePeriodSeconds"] > int(sleep) + SHUTDOWN_GRACE_S
    assert worker["terminationGracePeriodSeconds"] > REQUEUE_S


def test_settings_are_known_and_no_secret_is_included() -> None:
    kinds = {document["kind"] for _, document in manifests()}
    assert "Secret" not in kinds
    names = {name for _, document in manifests() if document["kind"] == "ConfigMap" for name in document["data"]}
    assert names <= {field.upper() for field in Settings.model_fields}


def test_namespace_enforces_the_restricted_standard() -> None:
    [labels] = [document["metadata"]["labels"] for _, document in manifests() if document["kind"] == "Namespace"]
    assert set(labels.values()) == {"restricted"}
    assert "pod-security.kubernetes.io/enforce" in labels
