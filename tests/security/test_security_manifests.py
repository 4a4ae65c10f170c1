"""Manifests: what a pod may do, who reaches it, where its secrets are, and that profiles fit them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from actors.gateway.edge import exposed_without_keys
from config.effective import load

CONFIG = Path(__file__).parents[2] / "config"
MANIFESTS = sorted(CONFIG.glob("*.yaml"))
Object = dict[str, Any]


def objects(path: Path) -> list[Object]:
    return [each for each in yaml.safe_load_all(path.read_text()) if each]


def of_kind(path: Path, kind: str) -> list[Object]:
    return [each for each in objects(path) if each["kind"] == kind]


def parts(value: Any) -> Iterator[Any]:
    """Every mapping, list and leaf of a document."""
    pending = [value]
    while pending:
        yield (part := pending.pop())
        if isinstance(part, dict):
            pending += part.values()
        if isinstance(part, list):
            pending += part


def pods(path: Path) -> list[Object]:
    """The specifications of all pods of a manifest, whatever makes them."""
    return [part for part in parts(objects(path)) if isinstance(part, dict) and "containers" in part]


def containers(path: Path) -> list[tuple[Object, Object]]:
    """(pod, container), those that begin it included."""
    kinds = ("initContainers", "containers", "ephemeralContainers")
    return [(pod, each) for pod in pods(path) for kind in kinds for each in pod.get(kind, [])]


def commands(path: Path) -> list[tuple[Object, Object, list[str]]]:
    """(pod, container, words after node.py) of every container that runs the command line."""
    found = []
    for pod, each in containers(path):
        script = each["args"][0].replace("\\\n", " ")
        for line in script.splitlines():
            words = shlex.split(line)
            if "node.py" in words:
                found.append((pod, each, words[words.index("node.py") + 1 :]))
    return found


def overrides(words: list[str]) -> list[str]:
    return [value for name, value in pairwise(words) if name == "--set"]


def mounts(pod: Object, container: Object, kind: str) -> dict[str, Object]:
    """Path to volume, of one kind."""
    volumes = {each["name"]: each for each in pod["volumes"]}
    mounted = {each["mountPath"]: volumes[each["name"]] for each in container["volumeMounts"]}
    return {place: volume for place, volume in mounted.items() if kind in volume}


def test_there_are_manifests() -> None:
    assert {path.name for path in MANIFESTS} >= {"kuberay-node.yaml", "kuberay-soak.yaml"}


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_a_pod_may_do_nothing_but_run(path: Path) -> None:
    assert pods(path)
    for pod in pods(path):
        assert pod["automountServiceAccountToken"] is False
        assert not any(pod.get(name) for name in ("hostNetwork", "hostPID", "hostIPC"))
        assert pod["securityContext"]["runAsUser"] > 0
    for pod, each in containers(path):
        context = each["securityContext"]
        assert context["runAsNonRoot"] is pod["securityContext"]["runAsNonRoot"] is True
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert not context.get("privileged")
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert {"cpu", "memory"} <= set(each["resources"]["limits"])
        volumes = {next(iter(volume.keys() - {"name"})) for volume in pod["volumes"]}
        assert volumes <= {"emptyDir", "secret", "configMap", "persistentVolumeClaim"}


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_what_is_written_has_a_place_under_a_read_only_root(path: Path) -> None:
    for pod, each in containers(path):
        written = mounts(pod, each, "emptyDir") | mounts(pod, each, "persistentVolumeClaim")
        environment = {variable["name"]: variable.get("value", "") for variable in each["env"]}
        places = [
            "/tmp",
            *(environment[name] for name in ("HOME", "TMPDIR", "RAYCHAIN_HOME", "XDG_CACHE_HOME")),
        ]
        for place in places:
            assert any(Path(place).is_relative_to(mount) for mount in written), place
    for pod, each, words in commands(path):
        written = mounts(pod, each, "emptyDir") | mounts(pod, each, "persistentVolumeClaim")
        for name, place in pairwise(words):
            if name in ("--data-dir", "--report"):
                assert any(Path(place).is_relative_to(mount) for mount in written), place


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_an_image_is_named_by_its_digest_and_never_by_a_tag(path: Path) -> None:
    for _, each in containers(path):
        assert re.fullmatch(r"[^:@\s]+@sha256:(DIGEST|[0-9a-f]{64})", each["image"]), each["image"]
    assert "REGISTRY/raychain@sha256:DIGEST,$IMAGE," in path.read_text(), "says how it is filled in"
    dockerfile = (CONFIG / "soak.Dockerfile").read_text()
    assert re.search(r"^ARG BASE$", dockerfile, re.M), "a base by default would be a tag"
    assert re.findall(r"^FROM (.*)$", dockerfile, re.M) == ["${BASE}"]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_secrets_are_mounted_files_for_their_reader_alone(path: Path) -> None:
    for pod, each in containers(path):
        for variable in each["env"]:
            assert "secretKeyRef" not in str(variable)
            assert variable["name"] not in ("RAY_AUTH_TOKEN", "RAYCHAIN_API_KEY")
        assert "envFrom" not in each
        environment = {variable["name"]: variable["value"] for variable in each["env"]}
        assert environment["RAY_AUTH_MODE"] == "token"
        secrets = mounts(pod, each, "secret")
        assert str(Path(environment["RAY_AUTH_TOKEN_PATH"]).parent) in secrets
        for volume in pod["volumes"]:
            if "secret" in volume:
                assert volume["secret"]["defaultMode"] == 0o400
    assert of_kind(path, "Secret") == [], "a secret is made by hand"


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_nothing_comes_in_or_goes_out_that_no_policy_names(path: Path) -> None:
    policies = of_kind(path, "NetworkPolicy")
    closed = [each["spec"] for each in policies if each["spec"]["podSelector"] == {}]
    assert closed == [{"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}]
    namespaces = {each["metadata"].get("namespace") for each in objects(path) if each["kind"] != "Namespace"}
    assert namespaces == {each["metadata"]["name"] for each in of_kind(path, "Namespace")}
    for policy in policies:
        for rule in policy["spec"].get("ingress", []):
            assert rule["from"], "an empty list lets everybody in"
            among = policy["spec"]["podSelector"]["matchLabels"]
            inside = all(peer.get("podSelector", {}).get("matchLabels") == among for peer in rule["from"])
            assert inside or rule.get("ports"), "strangers reach named ports only, Ray's pods each other's"
            assert "0.0.0.0/0" not in str(rule)
        for rule in policy["spec"].get("egress", []):
            assert rule["to"]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_rays_dashboard_and_its_ports_are_published_nowhere(path: Path) -> None:
    for cluster in of_kind(path, "RayCluster"):
        assert cluster["spec"]["headGroupSpec"]["rayStartParams"]["dashboard-host"] == "127.0.0.1"
    assert of_kind(path, "RayJob") == [], "its submitter reaches the dashboard over the network"
    named = {
        each["name"] for part in parts(objects(path)) if isinstance(part, dict) for each in ports_of(part)
    }
    assert named <= {"gateway", "peer"}


def ports_of(part: Object) -> list[Object]:
    found = part.get("ports")
    return [each for each in found if "name" in each] if isinstance(found, list) else []


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_commands_and_profiles_fit_what_is_mounted_and_open(path: Path) -> None:
    assert len(commands(path)) == 1
    for pod, each, words in commands(path):
        settings = load(words[words.index("--profile") + 1], overrides(words)).settings
        assert exposed_without_keys(settings.gateway) == ""
        secrets = mounts(pod, each, "secret")
        gateway = settings.gateway
        for file in (settings.node.key_file, gateway.api_keys_file, gateway.tls_key_file):
            assert not file or str(Path(file).parent) in secrets, file
        opened = {
            port["port"]
            for policy in of_kind(path, "NetworkPolicy")
            for rule in policy["spec"].get("ingress", [])
            for port in rule.get("ports", [])
        }
        wide = {(gateway.host, gateway.port), (settings.peer.host, settings.peer.port)}
        assert opened == {port for host, port in wide if host != "127.0.0.1"}
        assert 0 not in opened
        published = {
            port["port"] for service in of_kind(path, "Service") for port in service["spec"]["ports"]
        }
        assert published <= opened
        assert pod["terminationGracePeriodSeconds"] > settings.node.stop_timeout_s


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_every_option_of_a_command_exists(path: Path) -> None:
    for _, _, words in commands(path):
        command = [sys.executable, str(CONFIG.parent / "node.py"), words[0], "--help"]
        wide = os.environ | {"COLUMNS": "200", "NO_COLOR": "1"}
        told = subprocess.run(command, env=wide, capture_output=True, text=True, check=True).stdout
        assert {word for word in words if word.startswith("--")} <= set(re.findall(r"--[a-z-]+", told))


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_the_cluster_runs_the_ray_that_the_image_is_made_from(path: Path) -> None:
    (cluster,) = of_kind(path, "RayCluster")
    version = cluster["spec"]["rayVersion"]
    assert f"rayproject/ray:{version}-" in (CONFIG / "soak.Dockerfile").read_text()
