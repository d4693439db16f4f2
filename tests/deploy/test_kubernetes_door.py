"""The overlay with the door, built as kustomize builds it: it alone is scaled by load."""

import kubernetes_validate  # type: ignore[import-untyped]
import pytest

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
    secret_settings,
    settings_in,
)

DOOR = DEPLOY / "kubernetes" / "overlays" / "door"
SECRET = DOOR / "secret.example.yaml"
FLOWS = {"recommend", "learn", "evaluate"}


@pytest.fixture
def built() -> list[Document]:
    return kustomized(DOOR)


@pytest.mark.parametrize("release", ["1.28", kubernetes_validate.latest_version()])
def test_every_document_follows_the_schemas_of_kubernetes(built: list[Document], release: str) -> None:
    for document in [*built, *documents(SECRET)]:
        kubernetes_validate.validate(document, release, strict=True)


def test_every_file_of_the_overlay_is_applied_but_the_example_secret() -> None:
    listed = documents(DOOR / "kustomization.yaml")[0]["resources"]

    assert {*listed, "kustomization.yaml", SECRET.name} == {path.name for path in DOOR.iterdir()} | {"../../base"}


def test_the_flows_of_the_base_are_there_unchanged(built: list[Document]) -> None:
    kinds = {document["kind"] for document in built}

    assert all(document in built for document in kustomized(BASE))
    assert [*of_kind("Deployment", built)] == ["door"]
    assert {"HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy"} <= kinds


def test_the_door_alone_is_scaled_by_load(built: list[Document]) -> None:
    [scaler] = of_kind("HorizontalPodAutoscaler", built).values()
    target = scaler["spec"]["scaleTargetRef"]

    assert (target["kind"], target["name"]) == ("Deployment", "door")
    assert "replicas" not in of_kind("Deployment", built)["door"]["spec"]
    assert "cpu" in container_of(deployed("door", built))["resources"]["requests"]


def test_a_drain_may_always_take_a_door_and_never_the_last_one(built: list[Document]) -> None:
    budget = of_kind("PodDisruptionBudget", built)["door"]["spec"]
    [scaler] = of_kind("HorizontalPodAutoscaler", built).values()

    assert budget["maxUnavailable"] < scaler["spec"]["minReplicas"] <= scaler["spec"]["maxReplicas"]
    assert set(of_kind("PodDisruptionBudget", built)) == {"door", *FLOWS}


def test_every_selector_matches_the_doors_pods_alone(built: list[Document]) -> None:
    labels = deployed("door", built)["metadata"]["labels"]
    selectors = [
        of_kind("Service", built)["door"]["spec"]["selector"],
        of_kind("Deployment", built)["door"]["spec"]["selector"]["matchLabels"],
        of_kind("PodDisruptionBudget", built)["door"]["spec"]["selector"]["matchLabels"],
        of_kind("NetworkPolicy", built)["door"]["spec"]["podSelector"]["matchLabels"],
    ]

    assert all(selector == labels for selector in selectors)


def test_its_store_is_on_a_volume_of_its_own_that_goes_with_the_pod(
    built: list[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = deployed("door", built)
    mounts = {mount["name"]: mount["mountPath"] for mount in container_of(pod)["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    environment = pod_environment(pod, built, 0) | documents(SECRET)[0]["stringData"]
    serve = settings_in(environment, monkeypatch).serve

    assert mounts["state"] == only("VOLUME") == str(serve.store and serve.store.parent)
    assert volumes["state"]["emptyDir"] == {}
    assert set(mounts) == set(volumes)
    assert serve.port == container_of(pod)["ports"][0]["containerPort"]


def test_the_door_does_not_start_without_tokens(built: list[Document]) -> None:
    [secret] = [
        source["secretRef"] for source in container_of(deployed("door", built))["envFrom"] if "secretRef" in source
    ]
    [example] = documents(SECRET)

    assert secret == {"name": example["metadata"]["name"]}
    assert "EDDY_SERVE__TOKENS" in example["stringData"]
    assert {variable["name"] for variable in container_of(deployed("door", built))["env"]}.isdisjoint(secret_settings())


def test_the_door_is_confined_as_the_flows_are_and_reached_by_http(built: list[Document]) -> None:
    assert_confined_as_the_flows_are("door", built)
    assert of_kind("NetworkPolicy", built)["door"]["spec"]["ingress"] == [{"ports": [{"port": "http"}]}]
