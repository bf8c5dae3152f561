"""What the chart makes, and what checks it: helm, kubectl, schemas of Kubernetes, KEDA, Prometheus and KServe."""

from __future__ import annotations

import ast
import json
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import ROOT
from tests.deploy.conftest import tool

CHART = ROOT / "deploy" / "helm" / "triton-yolo"
EXAMPLES = ROOT / "deploy" / "helm" / "examples"
BESIDE = ROOT / ".bench" / "kubernetes"  # .ci/kubernetes makes it
OLDEST, NEWEST = "1.30", "1.37"  # Kubernetes: what the chart asks for, and what the schemas know
NODE = """
import {ScaledObject} from "@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject";
import {ServiceMonitor} from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor";
import {readFileSync} from "node:fs";
const kinds = {ScaledObject, ServiceMonitor};
for (const resource of JSON.parse(readFileSync(0))) new kinds[resource.kind](resource).validate();
"""
Resource = dict[str, Any]


def program(name: str) -> str:
    """The path of helm or kubectl; skips the test where `.ci/kubernetes` has not run."""
    return tool(name, ".ci/kubernetes unpacks it", BESIDE / "bin")


def rendered(*options: str, values: Resource | None = None) -> list[Resource]:
    """The resources of a release of the chart.

    Raises:
        subprocess.CalledProcessError: helm refuses the values.
    """
    command = [program("helm"), "template", "line", str(CHART), "--namespace", "plant", *options, "--values", "-"]
    done = subprocess.run(command, input=json.dumps(values or {}), capture_output=True, text=True, check=True)
    return [resource for resource in yaml.safe_load_all(done.stdout) if resource]


def refused(values: Resource) -> str:
    """What helm says to values that it must refuse."""
    try:
        rendered(values=values)
    except subprocess.CalledProcessError as error:
        return str(error.stderr)
    raise AssertionError("helm takes what it should refuse")


def check(resources: list[Resource]) -> None:
    """Hold resources against the schemas of their kinds; fields that nobody knows are errors."""
    others = []
    for resource in resources:
        if resource["kind"] in ("ScaledObject", "ServiceMonitor"):
            others.append(resource)
        else:
            _check_builtin(json.dumps(resource, sort_keys=True))
    if others:
        command = [tool("node", "apt-get install nodejs"), "--input-type=module", "--eval", NODE]
        done = subprocess.run(command, input=json.dumps(others), capture_output=True, text=True, cwd=BESIDE)
        assert done.returncode == 0, done.stderr


@cache
def _check_builtin(resource: str) -> None:
    import kubernetes_validate  # takes two seconds to load, which every run of any tests would pay

    for version in (OLDEST, NEWEST):
        kubernetes_validate.validate(json.loads(resource), version, strict=True)


def pods(resources: list[Resource]) -> Iterator[tuple[str, Resource]]:
    """The specification of each Deployment's pods, with its name."""
    for resource in resources:
        if resource["kind"] == "Deployment":
            yield resource["metadata"]["name"], resource["spec"]["template"]["spec"]


def one(resources: list[Resource], kind: str, name: str) -> Resource:
    """The resource of a kind and a name without the release's."""
    [found] = [r for r in resources if r["kind"] == kind and r["metadata"]["name"] == f"line-triton-yolo{name}"]
    return found


class KServe:
    """The fields of KServe's resources, as its Python package has them."""

    def __init__(self) -> None:
        self.folder: Path = BESIDE / "python" / "kserve" / "models"
        self.files = {_snake(path.stem): path for path in self.folder.glob("v1*.py")}

    def unknown(self, kind: str, content: Any, where: str = "") -> Iterator[str]:
        """The fields of a resource that its kind does not have, and of those inside it.

        Args:
            kind: name of a class of the package, or list[...], dict(...), or of a type that is not KServe's.
            content: of the resource.
            where: it is.
        """
        if kind.startswith("list["):
            for number, item in enumerate(content):
                yield from self.unknown(kind[5:-1], item, f"{where}[{number}]")
        elif (path := self.files.get(_snake(kind))) is not None:
            types, names = _fields(path)
            known = {names[own]: types[own] for own in names}
            for name, value in content.items():
                if name not in known:
                    yield f"{where}.{name}"
                else:
                    yield from self.unknown(known[name], value, f"{where}.{name}")


def _snake(name: str) -> str:
    return name.replace("_", "").lower()


def _fields(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """A class's types of fields, and their names in JSON, by their names in Python."""
    found: dict[str, dict[str, str]] = {}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name in ("openapi_types", "attribute_map"):
                found[name] = ast.literal_eval(node.value)
    return found["openapi_types"], found["attribute_map"]
