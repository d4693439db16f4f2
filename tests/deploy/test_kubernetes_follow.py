"""The overlay with the sequence model that goes on learning, built as kustomize builds it: one pod without a volume."""

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
from typer.testing import CliRunner

from dataflows.cli.main import app
from tests.deploy.manifests import (
    BASE,
    DEPLOY,
    Document,
    assert_confined_as_the_flows_are,
    container_of,
    deployed,
    documents,
    kustomized,
    of_kind,
    only,
    pod_environment,
    settings_in,
)

FOLLOW = DEPLOY / "kubernetes" / "overlays" / "follow"


@pytest.fixture
def built() -> list[Document]:
    return kustomized(FOLLOW)


@pytest.mark.parametrize("release", ["1.28", kubernetes_validate.latest_version()])
def test_every_document_follows_the_schemas_of_kubernetes(built: list[Document], release: str) -> None:
    for document in built:
        kubernetes_validate.validate(document, release, strict=True)


def test_every_file_of_the_overlay_is_applied() -> None:
    listed = documents(FOLLOW / "kustomization.yaml")[0]["resources"]
    assert {*listed, "kustomization.yaml"} == {path.name for path in FOLLOW.iterdir()} | {"../../base"}


def test_the_flows_of_the_base_are_there_unchanged_beside_one_pod(built: list[Document]) -> None:
    assert all(document in built for document in kustomized(BASE))
    [deployment] = of_kind("Deployment", built).values()
    assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]) == (1, {"type": "Recreate"})


def test_it_runs_a_command_that_there_is_with_the_settings_of_the_flows(
    built: list[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    container = container_of(deployed("follow", built))
    assert CliRunner().invoke(app, [*container["args"], "--help"]).exit_code == 0
    assert only("VOLUME") in {mount["mountPath"] for mount in container["volumeMounts"]}
    assert settings_in(pod_environment(deployed("follow", built), built, 0), monkeypatch).kafka.bootstrap_servers


def test_it_is_confined_as_the_flows_are_and_nobody_reaches_it_but_probes(built: list[Document]) -> None:
    assert_confined_as_the_flows_are("follow", built)
    assert of_kind("NetworkPolicy", built)["follow"]["spec"]["ingress"] == [{"ports": [{"port": "http"}]}]
    container = container_of(deployed("follow", built))
    asked = {container[probe]["httpGet"]["path"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert asked == {"/healthz", "/readyz"}
