"""Reads what `deploy/` holds, as Docker and kustomize would."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from dataflows.run.settings import Settings, load, variables
from tests import places

ROOT = places.ROOT
DEPLOY = ROOT / "deploy"
BASE = DEPLOY / "kubernetes" / "base"
DEV = DEPLOY / "kubernetes" / "overlays" / "dev"

Document = dict[str, Any]


class Instruction(NamedTuple):
    """A line of a Dockerfile, its continuations joined."""

    name: str
    value: str


def dockerfile() -> list[Instruction]:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#")).replace("\\\n", " ")
    return [Instruction(*line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]


def runtime_stage() -> list[Instruction]:
    """Return the instructions of the stage that is shipped, its FROM first."""
    instructions = dockerfile()
    last = max(place for place, instruction in enumerate(instructions) if instruction.name == "FROM")
    return instructions[last:]


def only(name: str) -> str:
    """Return the value of the one instruction of that name in the stage that is shipped."""
    (value,) = (instruction.value for instruction in runtime_stage() if instruction.name == name)
    return value


def image_environment() -> dict[str, str]:
    return dict(assignment.split("=", 1) for assignment in only("ENV").split())


def entry_point() -> list[str]:
    return list(json.loads(only("ENTRYPOINT")))


def compose() -> Document:
    return dict(yaml.safe_load((DEPLOY / "compose.yaml").read_text()))


def documents(path: Path) -> list[Document]:
    return list(yaml.safe_load_all(path.read_text()))


def kustomized(folder: Path) -> list[Document]:
    """Build a kustomization that uses resources, a namespace and JSON patches; more is not supported here."""
    kustomization = documents(folder / "kustomization.yaml")[0]
    supported = {"apiVersion", "kind", "namespace", "labels", "resources", "patches"}
    assert set(kustomization) <= supported
    built: list[Document] = []
    for resource in kustomization["resources"]:
        path = folder / resource
        built += kustomized(path) if path.is_dir() else documents(path)
    for document in built:
        place = "name" if document["kind"] == "Namespace" else "namespace"
        document["metadata"][place] = kustomization["namespace"]
    for patch in kustomization.get("patches", []):
        targets = [document for document in built if _is_target(document, patch["target"])]
        assert targets, f"no document is {patch['target']}"
        for document in targets:
            for operation in yaml.safe_load(patch["patch"]):
                _replace(document, operation)
    return built


def _is_target(document: Document, target: Mapping[str, str]) -> bool:
    name = document["metadata"]["name"]
    return (document["kind"], name) == (target["kind"], target.get("name", name))


def _replace(document: Document, operation: Mapping[str, Any]) -> None:
    assert operation["op"] == "replace"
    *steps, last = [int(step) if step.isdigit() else step for step in operation["path"].split("/")[1:]]
    part: Any = document
    for step in steps:
        part = part[step]
    assert isinstance(last, int) or last in part, f"nothing to replace at {operation['path']}"
    part[last] = operation["value"]


def of_kind(kind: str, built: list[Document]) -> dict[str, Document]:
    return {document["metadata"]["name"]: document for document in built if document["kind"] == kind}


def pods(built: list[Document]) -> dict[str, Document]:
    """Return the pod template of every workload, by the workload's name."""
    return {
        document["metadata"]["name"]: document["spec"]["template"]
        for document in built
        if document["kind"] in ("StatefulSet", "Job")
    }


def container_of(pod: Document) -> Document:
    (container,) = pod["spec"]["containers"]
    return dict(container)


def pod_environment(pod: Document, built: list[Document], ordinal: int) -> dict[str, str]:
    """Return what the only container of a pod finds in its environment, the optional secret aside."""
    container = container_of(pod)
    environment = image_environment()
    config_maps = of_kind("ConfigMap", built)
    for source in container.get("envFrom", []):
        if "configMapRef" in source:
            environment |= config_maps[source["configMapRef"]["name"]]["data"]
    for variable in container.get("env", []):
        environment[variable["name"]] = variable.get("value", str(ordinal))
    return environment


def settings_in(environment: Mapping[str, str], patch: pytest.MonkeyPatch) -> Settings:
    """Load the settings as a process with that environment would."""
    for name in known_settings():
        patch.delenv(name, raising=False)
    for name, value in environment.items():
        if name.startswith("EDDY_"):
            patch.setenv(name, value)
    return load()


def known_settings() -> list[str]:
    return list(variables())


def secret_settings() -> list[str]:
    return [name for name, kind in _fields(Settings, "EDDY_") if "SecretStr" in str(kind)]


def _fields(model: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        full = prefix + name.upper()
        if hasattr(field.annotation, "model_fields"):
            yield from _fields(field.annotation, full + "__")
        else:
            yield full, field.annotation


def deployed(name: str, built: list[Document]) -> Document:
    """Return the pod of a deployment."""
    return dict(of_kind("Deployment", built)[name]["spec"]["template"])


def assert_confined_as_the_flows_are(name: str, built: list[Document]) -> None:
    """Check that a deployment may do no more on its node and reaches no more of the network than a flow."""
    flow = of_kind("StatefulSet", built)["recommend"]["spec"]["template"]
    pod, policy = deployed(name, built), of_kind("NetworkPolicy", built)[name]["spec"]
    context = {key: value for key, value in flow["spec"]["securityContext"].items() if key != "fsGroupChangePolicy"}
    reached = of_kind("NetworkPolicy", built)["recommend"]["spec"]["egress"]

    assert pod["spec"]["securityContext"] == context
    assert container_of(pod)["securityContext"] == container_of(flow)["securityContext"]
    assert container_of(pod)["image"] == container_of(flow)["image"]
    assert not pod["spec"]["automountServiceAccountToken"]
    assert not pod["spec"]["enableServiceLinks"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["egress"] == [rule for rule in reached if rule["ports"] != [{"port": "cluster"}]]
    assert policy["podSelector"]["matchLabels"] == pod["metadata"]["labels"]
