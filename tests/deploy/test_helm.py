"""The Helm chart: every combination of values gives resources that Kubernetes takes and that ask for no rights."""

from __future__ import annotations

import copy
import itertools
import json
import math
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.envoy import CLIENTS, SERVERS, TLS, chart_files, container_config, with_keys
from tests.conftest import ROOT
from tests.deploy.kubernetes import (
    BESIDE,
    CHART,
    EXAMPLES,
    KServe,
    Resource,
    check,
    one,
    pods,
    program,
    refused,
    rendered,
)
from triton_yolo.server.fleet.envoy_access import Doors
from triton_yolo.server.fleet.envoy_config import OPEN

DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text())
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
CPU = yaml.safe_load((EXAMPLES / "cpu.yaml").read_text())["servers"]
SOURCES: list[Resource] = [
    {"from": "image"},
    {"from": "claim", "claim": "boards"},
    {"from": "objectStore", "objectStore": {"path": ":s3:boards/best", "secret": "s3"}},
]
GUARDED: list[Resource] = [
    {},
    {"tls": {"secret": "tls"}},
    {"tls": {"secret": "tls", "clientCaSecret": "clients"}},
    {"tls": {"secret": "tls"}, "apiKeys": {"secret": "keys"}},
    {"tls": {"secret": "tls", "clientCaSecret": "clients"}, "apiKeys": {"secret": "keys"}},
]
FILES = re.compile(r'"(?:path|filename)": ?"(/etc/envoy[^"]*/[^"]*)"')  # that Envoy reads
DOORS = [OPEN, TLS, CLIENTS, with_keys(TLS), with_keys(CLIENTS)]


def combinations() -> Iterator[Resource]:
    """Values that differ in what changes the resources."""
    both = {**DEFAULTS["servers"], "cpu": CPU["cpu"]}
    uncached = copy.deepcopy(DEFAULTS["servers"])
    uncached["gpu"]["cache"]["enabled"] = False
    guarded = itertools.cycle(GUARDED)
    for servers, source, scaling, monitored, closed in itertools.product(
        (DEFAULTS["servers"], CPU, both, uncached), SOURCES, ("none", "keda", "hpa"), (False, True), (False, True)
    ):
        yield {
            "servers": servers,
            "repository": source,
            "scaling": {"type": scaling},
            "serviceMonitor": {"enabled": monitored},
            "networkPolicy": {"enabled": closed},
            "envoy": {"service": {"type": "LoadBalancer" if closed else "ClusterIP"}, **next(guarded)},
        }


def assert_without_rights(name: str, pod: Resource) -> None:
    """Hold a pod against the restricted profile of Kubernetes' Pod Security Standards, and more."""
    security = pod["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] > 0
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers", "shareProcessNamespace"} & set(pod)
    for volume in pod.get("volumes", []):
        assert set(volume) - {"name"} <= {"emptyDir", "configMap", "persistentVolumeClaim", "secret"}, volume
        if "emptyDir" in volume:
            assert volume["emptyDir"]["sizeLimit"], volume
    for container in (*pod.get("initContainers", []), *pod["containers"]):
        own = container["securityContext"]
        assert own["allowPrivilegeEscalation"] is False
        assert own["privileged"] is False
        assert own["readOnlyRootFilesystem"] is True
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert {"cpu", "memory", "ephemeral-storage"} <= set(container["resources"]["limits"]), name
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert all("hostPort" not in port for port in container.get("ports", []))
        assert "@sha256:" in container["image"] or not container["image"].endswith(":latest") or "cpu" in name


def test_helm_finds_nothing_to_complain_of() -> None:
    done = subprocess.run([program("helm"), "lint", "--strict", CHART], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_every_combination_of_values_is_taken_by_kubernetes_and_asks_for_no_rights() -> None:
    every: dict[str, Resource] = {}
    for values in combinations():
        every |= {json.dumps(resource, sort_keys=True): resource for resource in rendered(values=values)}
    resources = list(every.values())
    check(resources)
    for name, pod in pods(resources):
        assert_without_rights(name, pod)
    seen = {resource["kind"] for resource in resources}
    assert {"ScaledObject", "HorizontalPodAutoscaler", "ServiceMonitor", "NetworkPolicy"} <= seen


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_examples_are_taken(example: Path) -> None:
    resources = rendered("--values", str(example))
    check(resources)
    for name, pod in pods(resources):
        assert_without_rights(name, pod)


def test_the_checks_find_what_is_wrong() -> None:
    resources = rendered()
    broken = copy.deepcopy(resources)
    one(broken, "Deployment", "-gpu")["spec"]["template"]["spec"]["containers"][0]["commands"] = ["tritonserver"]
    with pytest.raises(Exception, match="commands"):
        check(broken)
    [scaled] = [r for r in rendered(values={"scaling": {"type": "keda"}}) if r["kind"] == "ScaledObject"]
    scaled["spec"]["maxReplicaCount"] = "four"
    with pytest.raises(AssertionError, match="maxReplicaCount must be integer"):
        check([scaled])
    [_, (name, pod)] = pods(resources)
    pod["volumes"].append({"name": "host", "hostPath": {"path": "/"}})
    with pytest.raises(AssertionError):
        assert_without_rights(name, pod)


def test_kubectl_reads_every_resource_of_kubernetes_own(tmp_path: Path) -> None:
    resources = rendered(values={"scaling": {"type": "hpa"}})
    (tmp_path / "all.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": resources}))
    command = [program("kubectl"), "annotate", "--local", "--dry-run=client", "-o", "name", "-f", tmp_path / "all.json"]
    done = subprocess.run([*command, "read=yes"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(resources)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"server": {}}, "additional properties 'server' not allowed"),
        ({"repository": {"from": "claim"}}, "/repository/claim"),
        ({"repository": {"from": "objectStore", "objectStore": {"path": "s3://boards"}}}, "objectStore/path"),
        ({"servers": {"gpu": {"resources": {"limits": {"nvidia.com/gpu": 2}}}}}, "value must be 1"),
        ({"servers": {"gpu": {"resources": {"limits": {"memory": None}}}}}, "memory"),
        ({"servers": {"gpu": {"device": "tpu"}}}, "/servers/gpu/device"),
        ({"servers": {"gpu": None}}, "/servers"),
        ({"servers": {"a-b": CPU["cpu"]}}, "a-b"),
        ({"envoy": {"tls": {"clientCaSecret": "clients"}}}, "/envoy/tls/secret"),
        ({"envoy": {"apiKeys": {"secret": "keys"}}}, "/envoy/tls/secret"),
        ({"envoy": {"tls": {"secret": "A Secret"}}}, "/envoy/tls/secret"),
        ({"scaling": {"utilisation": 1.5}}, "/scaling/utilisation"),
        ({"images": {"triton": "tritonserver"}}, "/images/triton"),
        ({"scaling": {"type": "keda", "cameras": 300}}, "300 cameras need 5 servers"),
    ],
)
def test_values_that_make_no_sense_are_refused(values: Resource, complaint: str) -> None:
    assert complaint in refused(values)


@pytest.mark.parametrize(("cameras", "frames"), [(8, 30), (80, 30), (136, 60)])
def test_the_cameras_say_how_many_servers_there_are_at_least(cameras: int, frames: int) -> None:
    values = {"scaling": {"type": "keda", "cameras": cameras, "framesPerSecond": frames}}
    values["servers"] = {"gpu": {"scaling": {"maxReplicas": 100}}}
    spec = one(rendered(values=values), "ScaledObject", "-gpu")["spec"]
    own, settings = DEFAULTS["servers"]["gpu"]["scaling"], DEFAULTS["scaling"]
    assert spec["minReplicaCount"] == math.ceil(cameras * frames / (own["framesPerSecond"] * settings["utilisation"]))
    pending, queue = (trigger["metadata"]["threshold"] for trigger in spec["triggers"])
    assert int(pending) == math.floor(own["framesPerSecond"] * settings["queueSeconds"])
    assert int(queue) == settings["queueSeconds"] * 1e6


def test_a_deployment_that_is_scaled_names_no_replicas() -> None:
    for kind in ("none", "keda", "hpa"):
        spec = one(rendered(values={"scaling": {"type": kind}}), "Deployment", "-gpu")["spec"]
        assert ("replicas" in spec) == (kind == "none")


def test_the_server_is_started_as_compose_starts_it_but_takes_no_shared_memory() -> None:
    [(_, pod)] = [found for found in pods(rendered()) if found[0].endswith("-gpu")]
    [triton] = pod["containers"]
    [build] = pod["initContainers"]
    own = [word for word in COMPOSE["triton"]["command"] if word.startswith("--")]
    dropped = {
        "--allow-client-shm=true",
        "--backend-config=python,shm-region-prefix-name=triton-yolo-port-${HTTP_PORT}-",
    }
    assert triton["command"] == ["tritonserver", *(flag for flag in own if flag not in dropped)]
    assert build["command"][:4] == COMPOSE["build"]["command"][:4]
    settings = dict(line.split("=", 1) for line in (ROOT / ".env").read_text().splitlines() if line[:1].isupper())
    assert triton["image"] == f"nvcr.io/nvidia/tritonserver:{settings['TRITON_TAG']}{settings['TRITON_DIGEST']}"
    assert build["image"] == f"triton-yolo-build:{settings['TRITON_TAG']}"
    assert str(pod["securityContext"]["runAsUser"]) == settings["SERVER_UID"]
    [(_, pod)] = [found for found in pods(rendered(values={"servers": CPU})) if found[0].endswith("-cpu")]
    words = pod["containers"][0]["command"]
    assert words == [word for word in COMPOSE["triton-cpu"]["command"] if word not in ("--repository", "/repository")]


def test_a_plan_is_kept_for_a_type_of_gpu_and_a_version_of_triton() -> None:
    folders = set()
    for values in (
        {},
        {"images": {"triton": "nvcr.io/nvidia/tritonserver:26.11-py3"}},
        {"servers": {"gpu": None, "l4": DEFAULTS["servers"]["gpu"]}},
    ):
        [(_, pod)] = [found for found in pods(rendered(values=values)) if not found[0].endswith("-envoy")]
        [build] = [m["subPath"] for m in pod["initContainers"][0]["volumeMounts"] if m["name"] == "models"]
        [served] = [m["subPath"] for m in pod["containers"][0]["volumeMounts"] if m["name"] == "models"]
        assert build == served
        folders.add(build)
    assert folders == {"gpu-26.08-py3", "gpu-26.11-py3", "l4-26.08-py3"}


def test_probes_tell_loading_from_broken() -> None:
    [(_, pod)] = [found for found in pods(rendered(values={"loadSeconds": 900})) if found[0].endswith("-gpu")]
    [triton] = pod["containers"]
    start, ready, live = (triton[f"{name}Probe"] for name in ("startup", "readiness", "liveness"))
    assert start["periodSeconds"] * start["failureThreshold"] == 900
    assert {probe["httpGet"]["path"] for probe in (start, ready, live)} == {"/v2/health/ready"}
    assert ready["periodSeconds"] * ready["failureThreshold"] < 10
    assert live["periodSeconds"] * live["failureThreshold"] >= 60, "a server that is busy is not broken"
    wait = triton["lifecycle"]["preStop"]["sleep"]["seconds"]
    [exit_seconds] = [int(flag.partition("=")[2]) for flag in triton["command"] if "exit-timeout" in flag]
    assert wait + exit_seconds < pod["terminationGracePeriodSeconds"]


def test_services_and_policies_choose_the_pods_that_are_there() -> None:
    resources = rendered(values={"serviceMonitor": {"enabled": True}})
    labels = [r["spec"]["template"]["metadata"]["labels"] for r in resources if r["kind"] == "Deployment"]

    def chosen(selector: dict[str, str]) -> int:
        return sum(selector.items() <= own.items() for own in labels)

    for resource in resources:
        spec: Any = resource.get("spec", {})
        if resource["kind"] == "Service":
            assert chosen(spec["selector"]) == 1
        if resource["kind"] in ("PodDisruptionBudget", "Deployment"):
            assert chosen(spec["selector"]["matchLabels"]) == 1
        if resource["kind"] == "NetworkPolicy":
            assert chosen(spec["podSelector"]["matchLabels"]) == 1
    [monitor] = [r["spec"]["selector"] for r in resources if r["kind"] == "ServiceMonitor"]
    [expression] = monitor["matchExpressions"]
    components = [r["metadata"]["labels"]["app.kubernetes.io/component"] for r in resources if r["kind"] == "Service"]
    assert sorted(set(components) & set(expression["values"])) == sorted(expression["values"])


def test_the_files_of_the_chart_are_those_of_the_same_code_as_serve() -> None:
    written = {path.name: json.loads(path.read_text()) for path in (CHART / "files").iterdir()}
    assert written == chart_files(), "run python -m deploy.envoy"


@pytest.mark.parametrize(("values", "doors"), list(zip(GUARDED, DOORS, strict=True)))
def test_envoy_lets_in_whom_the_values_say(values: Resource, doors: Doors) -> None:
    resources = rendered(values={"envoy": values})
    expected = json.dumps(container_config(doors=doors)).replace(SERVERS, "line-triton-yolo-servers.plant.svc")
    config = one(resources, "ConfigMap", "-envoy")["data"]
    assert json.loads(config["envoy.json"]) == json.loads(expected)
    [pod] = [pod for name, pod in pods(resources) if name.endswith("-envoy")]
    secrets = {volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume}
    assert secrets == {name for part in values.values() for name in part.values()}
    mounted = [mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]]
    files = [path for text in config.values() for path in FILES.findall(text)]
    assert files or not values
    assert all(path.startswith(tuple(f"{folder}/" for folder in mounted)) for path in files)


def test_kserve_knows_every_field_of_the_example() -> None:
    program("helm")
    assert (BESIDE / "python").is_dir()
    service = yaml.safe_load((ROOT / "deploy" / "kserve" / "inferenceservice.yaml").read_text())
    fields = KServe()
    assert list(fields.unknown("V1beta1InferenceService", service)) == []
    predictor = service["spec"]["predictor"]
    assert_without_rights("kserve", {**predictor, "containers": [predictor["model"]]})
    wrong = copy.deepcopy(service)
    wrong["spec"]["predictor"]["model"]["modelFormat"]["nme"] = wrong["spec"]["predictor"].pop("minReplicas")
    wrong["spec"]["replicas"] = 1
    assert list(fields.unknown("V1beta1InferenceService", wrong)) == [
        ".spec.predictor.model.modelFormat.nme",
        ".spec.replicas",
    ]
    owner = [line for line in (ROOT / ".env").read_text().splitlines() if line.startswith("TRITON_TAG=")]
    assert f":{owner[0].partition('=')[2]}@" in predictor["model"]["image"]
    flags = set(COMPOSE["triton"]["command"])
    assert set(predictor["model"]["args"]) <= flags
