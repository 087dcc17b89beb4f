"""kubernetes/ and its page: rendered and held against schemas, what they name exists, and every pod is confined."""

import copy
import re
import shutil
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from ruamel.yaml import YAML
from typer.main import get_command

from nfa_kernels.version import VERSION
from service.cli.main import app
from service.settings import Settings
from workers.settings import WorkerSettings

ROOT = Path(__file__).parents[2]
KUBERNETES = "1.34"
"""Whose schemas are asked; any that has them would do."""
VARIABLES = {f"NFA_{name.upper()}" for cls in (Settings, WorkerSettings) for name in cls.model_fields}
RAY = {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", "OMP_NUM_THREADS"} | {
    f"RAY_health_check_{name}" for name in ("period_ms", "timeout_ms", "failure_threshold")
}
SECRET = {"database_url", "ray_token"}
"""What the page's `kubectl create secret` puts into the secret."""


@pytest.fixture(scope="module")
def page():
    return (ROOT / "docs" / "howto" / "kubernetes.md").read_text()


@pytest.fixture(scope="module")
def manifests():
    text = (ROOT / "kubernetes" / "base" / "nfa.yaml").read_text()
    return {(one["kind"], one["metadata"]["name"]): one for one in YAML(typ="safe").load_all(text)}


@pytest.fixture(scope="module")
def pods(manifests):
    """Every pod's description, by what makes it."""
    return pods_of(manifests)


def pods_of(manifests):
    found = {}
    for (kind, name), one in manifests.items():
        if kind == "RayCluster":
            found[f"{name} head"] = one["spec"]["headGroupSpec"]["template"]
            found |= {f"{name} {g['groupName']}": g["template"] for g in one["spec"]["workerGroupSpecs"]}
        elif "template" in one.get("spec", {}):
            found[name] = one["spec"]["template"]
    return found


def rendered(folder: Path) -> dict[tuple[str, str], Any]:
    """What `kubectl apply --kustomize` would send."""
    if (kubectl := shutil.which("kubectl")) is None:
        pytest.skip("no kubectl on this machine, which renders what Kustomize makes of the manifests")
    made = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=True).stdout
    return {(one["kind"], one["metadata"]["name"]): one for one in YAML(typ="safe").load_all(made)}


def check_schemas(manifests: dict[tuple[str, str], Any]) -> None:
    """Raises where Kubernetes knows no such field, or asks for another; of KubeRay's objects the pods are checked."""
    for (kind, _), one in manifests.items():
        if kind != "RayCluster":
            kubernetes_validate.validate(one, KUBERNETES, strict=True)
    for name, pod in pods_of(manifests).items():
        written = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"} | pod.get("metadata", {})}
        spec = pod["spec"] if pod["spec"].get("restartPolicy") else pod["spec"] | {"restartPolicy": "Always"}
        assert name and kubernetes_validate.validate(written | {"spec": spec}, KUBERNETES, strict=True)


def test_every_object_fits_the_schemas_of_kubernetes(manifests):
    check_schemas(manifests)
    [container] = (wrong := copy.deepcopy(manifests))["Deployment", "nfa-api"]["spec"]["template"]["spec"]["containers"]
    container["readinesProbe"] = container.pop("readinessProbe")
    with pytest.raises(kubernetes_validate.ValidationError, match="readinesProbe"):
        check_schemas(wrong)
    head = (wrong := copy.deepcopy(manifests))["RayCluster", "nfa-ray"]["spec"]["headGroupSpec"]
    head["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] = ["4Gi"]
    with pytest.raises(kubernetes_validate.ValidationError, match="4Gi"):
        check_schemas(wrong)


def test_kustomize_renders_what_the_page_says(manifests, page, tmp_path):
    base, gpu = rendered(ROOT / "kubernetes" / "base"), rendered(ROOT / "kubernetes" / "gpu")
    assert set(base) == set(gpu) == set(manifests)
    for made in (base, gpu):
        check_schemas(made)
        assert {one["metadata"]["namespace"] for one in made.values()} == {"nfa"}
        test_every_pod_is_confined(pods_of(made))
    groups = {group["groupName"]: group for group in gpu["RayCluster", "nfa-ray"]["spec"]["workerGroupSpecs"]}
    assert set(groups) == {"cpu", "gpu"}
    (container,) = groups["gpu"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert (
        container["env"]
        == base["RayCluster", "nfa-ray"]["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["env"]
    )
    # the reader's own folder, as it stands on the page
    shutil.copytree(ROOT / "kubernetes", tmp_path / "kubernetes")
    (tmp_path / "mine").mkdir()
    [written] = re.findall(r"```yaml\n(.*?)```", page, re.S)
    (tmp_path / "mine" / "kustomization.yaml").write_text(textwrap.dedent("   " + written.lstrip()))
    mine = pods_of(rendered(tmp_path / "mine"))
    assert {pod["spec"]["containers"][0]["image"] for pod in mine.values()} == {"registry.example/nfa-service:VERSION"}


def test_the_page_has_what_a_cluster_needs(manifests):
    assert {kind for kind, _ in manifests} == {"Job", "Deployment", "Service", "RayCluster", "NetworkPolicy"}
    assert manifests["Deployment", "nfa-api"]["spec"]["replicas"] == 2


def test_variables_and_secrets_exist(pods, page):
    assert set(re.findall(r"--from-literal=(\w+)=", page)) == SECRET
    for name, pod in pods.items():
        [container] = pod["spec"]["containers"]
        names = {one["name"] for one in container["env"]}
        assert names <= VARIABLES | RAY, name
        for one in container["env"]:
            if "valueFrom" in one:
                assert one["valueFrom"]["secretKeyRef"]["key"] in SECRET
        assert ("NFA_DATABASE_URL" in names) == (name in {"nfa-migrate", "nfa-api", "nfa-dispatcher"}), name
        if name.startswith("nfa-ray"):
            assert {"name": "RAY_AUTH_MODE", "value": "token"} in container["env"]


def test_commands_and_options_exist(pods, manifests, page):
    said = [words for pod in pods.values() for words in [pod["spec"]["containers"][0].get("command", [])]]
    said += [line.split(" -- ")[1].split() for line in page.splitlines() if " -- nfa " in line]
    commands = [words[1:] for words in said if words[:1] == ["nfa"]]
    assert len(commands) == 3
    for words in commands:
        command: Any = get_command(app)
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        assert not hasattr(command, "commands"), words
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options
    assert ["python", "-m", "workers"] in said

    from ray.scripts.scripts import start

    options = {option for parameter in start.params for option in parameter.opts}
    cluster = manifests["RayCluster", "nfa-ray"]["spec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert {f"--{name}" for name in group["rayStartParams"]} <= options


def test_versions_and_addresses_fit_together(pods, manifests):
    images = {pod["spec"]["containers"][0]["image"] for pod in pods.values()}
    assert images == {f"nfa-service:{VERSION}"}
    import ray

    version = manifests["RayCluster", "nfa-ray"]["spec"]["rayVersion"]
    assert version.split(".")[:2] == ray.__version__.split(".")[:2]
    env = {one["name"]: one.get("value") for one in pods["nfa-dispatcher"]["spec"]["containers"][0]["env"]}
    # KubeRay calls the head's service after the cluster
    assert env["NFA_RAY_ADDRESS"] == "nfa-ray-head-svc:6379"
    [mount] = [m for m in pods["nfa-dispatcher"]["spec"]["containers"][0]["volumeMounts"] if m["name"] == "token"]
    assert env["NFA_RAY_TOKEN_PATH"] == f"{mount['mountPath']}/ray_token"
    labels = {pod["metadata"]["labels"]["app"] for name, pod in pods.items() if name != "nfa-migrate"}
    selected = manifests["NetworkPolicy", "nfa-ray"]["spec"]["podSelector"]["matchLabels"]["app"]
    assert selected in labels and manifests["Service", "nfa-api"]["spec"]["selector"]["app"] in labels


def test_every_pod_is_confined(pods):
    for name, pod in pods.items():
        spec, [container] = pod["spec"], pod["spec"]["containers"]
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"] == 10001, name
        assert container["securityContext"] == {
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }, name
        mounted = {one["name"] for one in container["volumeMounts"]}
        assert mounted == {one["name"] for one in spec["volumes"]} and "tmp" in mounted, name
        if name not in {"nfa-migrate", "nfa-dispatcher"}:
            assert "readinessProbe" in container and "livenessProbe" in container, name
