"""The base and the overlay, built as kustomize builds them."""

import json
from importlib.metadata import version
from pathlib import Path, PurePosixPath

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from tests.deploy.manifests import (
    BASE,
    DEV,
    Document,
    container_of,
    documents,
    kustomized,
    of_kind,
    only,
    pod_environment,
    pods,
    secret_settings,
    settings_in,
)
from tests.experiments import experiments_from

BUILDS = pytest.mark.parametrize("built", [kustomized(BASE), kustomized(DEV)], ids=["base", "dev"])
SECRETS = BASE / "secret.example.yaml"
# The oldest that labels a pod with its index, and the newest whose schemas the package ships.
KUBERNETES = ("1.28", kubernetes_validate.latest_version())


@BUILDS
@pytest.mark.parametrize("release", KUBERNETES)
def test_every_document_follows_the_schemas_of_kubernetes(built: list[Document], release: str) -> None:
    for document in [*built, *documents(SECRETS)]:
        kubernetes_validate.validate(document, release, strict=True)


def test_the_schemas_refuse_a_misspelt_field() -> None:
    misspelt = of_kind("StatefulSet", kustomized(BASE))["learn"]
    misspelt["spec"]["podManagmentPolicy"] = "Parallel"

    with pytest.raises(kubernetes_validate.ValidationError, match="podManagmentPolicy"):
        kubernetes_validate.validate(misspelt, KUBERNETES[0], strict=True)


def test_every_file_of_the_base_is_applied_but_the_example_secret() -> None:
    listed = documents(BASE / "kustomization.yaml")[0]["resources"]
    files = {path.name for path in BASE.iterdir()} - {"kustomization.yaml"}

    assert len(set(listed)) == len(listed)
    assert set(listed) == files - {SECRETS.name}


@BUILDS
def test_no_two_documents_share_kind_and_name(built: list[Document]) -> None:
    names = [(document["kind"], document["metadata"]["name"]) for document in built]

    assert len(set(names)) == len(names)


@BUILDS
def test_every_config_and_secret_that_a_pod_reads_exists(built: list[Document]) -> None:
    secrets = {document["metadata"]["name"]: document["stringData"] for document in documents(SECRETS)}
    config_maps = of_kind("ConfigMap", built)
    for pod in pods(built).values():
        for source in container_of(pod)["envFrom"]:
            assert source.get("configMapRef", {"name": "eddy"})["name"] in config_maps
            assert source.get("secretRef", {"name": "eddy-kafka-tls"})["name"] in secrets
        for volume in pod["spec"]["volumes"]:
            assert volume.get("configMap", {"name": "eddy"})["name"] in config_maps
            assert volume.get("secret", {"secretName": "eddy-kafka-tls"})["secretName"] in secrets


@BUILDS
def test_every_mount_has_its_volume_and_every_volume_is_mounted(built: list[Document]) -> None:
    for name, pod in pods(built).items():
        claims = of_kind("StatefulSet", built).get(name, {"spec": {}})["spec"].get("volumeClaimTemplates", [])
        volumes = [claim["metadata"]["name"] for claim in claims]
        volumes += [volume["name"] for volume in pod["spec"]["volumes"]]
        mounts = {mount["name"]: mount["mountPath"] for mount in container_of(pod)["volumeMounts"]}

        assert sorted(volumes) == sorted(mounts)
        assert mounts["state"] == only("VOLUME")


@BUILDS
def test_the_probes_ask_the_exposed_port_whether_a_flow_is_ready_and_well(built: list[Document]) -> None:
    for name in of_kind("StatefulSet", built):
        flow = container_of(pods(built)[name])
        ports = {port["name"]: port["containerPort"] for port in flow["ports"]}
        paths = {probe: flow[probe]["httpGet"]["path"] for probe in flow if probe.endswith("Probe")}

        assert paths == {"startupProbe": "/readyz", "readinessProbe": "/readyz", "livenessProbe": "/healthz"}
        assert {str(ports[flow[probe]["httpGet"]["port"]]) for probe in paths} == {only("EXPOSE")}


@BUILDS
def test_a_headless_service_finds_the_processes_of_a_flow_before_they_are_ready(
    built: list[Document],
) -> None:
    for name, flow in of_kind("StatefulSet", built).items():
        service = of_kind("Service", built)[flow["spec"]["serviceName"]]["spec"]
        ports = {port["name"]: port["containerPort"] for port in container_of(pods(built)[name])["ports"]}

        assert service["clusterIP"] == "None"
        assert service["publishNotReadyAddresses"]
        assert {port["targetPort"]: port["port"] for port in service["ports"]} == ports


@BUILDS
def test_every_selector_matches_the_pods_of_its_own_flow(built: list[Document]) -> None:
    for name, flow in of_kind("StatefulSet", built).items():
        selectors = [
            flow["spec"]["selector"]["matchLabels"],
            of_kind("Service", built)[name]["spec"]["selector"],
            of_kind("PodDisruptionBudget", built)[name]["spec"]["selector"]["matchLabels"],
            of_kind("NetworkPolicy", built)[name]["spec"]["podSelector"]["matchLabels"],
        ]

        assert all(selector == pods(built)[name]["metadata"]["labels"] for selector in selectors)


@BUILDS
def test_only_a_flows_own_pods_may_join_its_cluster(built: list[Document]) -> None:
    for name in of_kind("StatefulSet", built):
        rules = of_kind("NetworkPolicy", built)[name]["spec"]["ingress"]
        open_ports = [port["port"] for rule in rules if "from" not in rule for port in rule["ports"]]
        guarded = [rule for rule in rules if "from" in rule]

        assert open_ports == ["http"]
        assert [port["port"] for rule in guarded for port in rule["ports"]] == ["cluster"]
        assert guarded[0]["from"] == [{"podSelector": {"matchLabels": pods(built)[name]["metadata"]["labels"]}}]


@BUILDS
def test_a_pod_reaches_its_own_cluster_the_names_and_the_brokers_alone(built: list[Document]) -> None:
    for name in pods(built):
        policy = of_kind("NetworkPolicy", built)[name.removeprefix("eddy-")]["spec"]
        anywhere = [port for rule in policy["egress"] if "to" not in rule for port in rule["ports"]]

        assert policy["policyTypes"] == ["Ingress", "Egress"]
        assert policy["podSelector"]["matchLabels"] == pods(built)[name]["metadata"]["labels"]
        assert [(port["port"], port["endPort"]) for port in anywhere] == [(9092, 9096)]
        servers = of_kind("ConfigMap", built)["eddy"]["data"]["EDDY_KAFKA__BOOTSTRAP_SERVERS"]
        assert all(9092 <= int(server.rpartition(":")[2]) <= 9096 for server in servers.split(","))


@BUILDS
def test_every_flow_has_a_kafka_user_of_its_own(built: list[Document]) -> None:
    secrets = {
        name: [source["secretRef"]["name"] for source in container_of(pod)["envFrom"] if "secretRef" in source]
        for name, pod in pods(built).items()
    }

    assert secrets == {name: [f"eddy-kafka-{name.removeprefix('eddy-')}"] for name in pods(built)}


@BUILDS
def test_every_process_has_its_own_place_in_the_list_of_addresses(
    built: list[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, flow in of_kind("StatefulSet", built).items():
        replicas = flow["spec"]["replicas"]
        service = flow["spec"]["serviceName"]
        port = next(p for p in container_of(pods(built)[name])["ports"] if p["name"] == "cluster")["containerPort"]
        for ordinal in range(replicas):
            cluster = settings_in(pod_environment(pods(built)[name], built, ordinal), monkeypatch).cluster

            assert cluster.process_id == ordinal
            assert cluster.members == [f"{name}-{place}.{service}:{port}" for place in range(replicas)]


@BUILDS
def test_the_settings_of_every_pod_are_valid(built: list[Document], monkeypatch: pytest.MonkeyPatch) -> None:
    for pod in pods(built).values():
        settings = settings_in(pod_environment(pod, built, 0), monkeypatch)

        assert settings.recovery.partitions == 16
        assert settings.recovery.folder == Path(only("VOLUME")) / "recovery"


def test_the_example_secret_makes_an_encrypted_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    *users, certificates = (document["stringData"] for document in documents(SECRETS))
    assert len({user["EDDY_KAFKA__SASL_USERNAME"] for user in users}) == len(users) == 4
    kafka = settings_in(users[0], monkeypatch).kafka
    mounts = {m["name"]: m["mountPath"] for m in container_of(pods(kustomized(BASE))["recommend"])["volumeMounts"]}

    assert kafka.security_protocol == "sasl_ssl"
    assert kafka.sasl_password is not None
    assert kafka.ssl_ca_location in [Path(mounts["tls"]) / name for name in certificates]


@BUILDS
def test_secrets_are_kept_out_of_the_config(built: list[Document]) -> None:
    given = {name for config in of_kind("ConfigMap", built).values() for name in config["data"]}

    assert given.isdisjoint(secret_settings())


@BUILDS
def test_the_experiments_are_where_the_settings_say_and_can_be_read(
    built: list[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = pods(built)["recommend"]
    mounts = {mount["name"]: PurePosixPath(mount["mountPath"]) for mount in container_of(pod)["volumeMounts"]}
    experiments = of_kind("ConfigMap", built)["eddy-experiments"]["data"]
    file = settings_in(pod_environment(pod, built, 0), monkeypatch).experiments_file

    assert file in [Path(mounts["experiments"] / name) for name in experiments]
    for text in experiments.values():
        experiments_from(yaml.safe_load(text)["experiments"])


@BUILDS
def test_no_pod_is_root_or_writes_outside_its_volumes_or_holds_a_token(built: list[Document]) -> None:
    user, group = (int(part) for part in only("USER").split(":"))
    for pod in pods(built).values():
        context = pod["spec"]["securityContext"]
        own = container_of(pod)["securityContext"]

        assert context["runAsNonRoot"]
        assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (user, group, group)
        assert own["readOnlyRootFilesystem"]
        assert not own["allowPrivilegeEscalation"]
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert not pod["spec"]["automountServiceAccountToken"]
        assert not pod["spec"]["enableServiceLinks"]


@BUILDS
def test_every_pod_runs_the_version_of_the_project_within_bounded_memory(built: list[Document]) -> None:
    for pod in pods(built).values():
        container = container_of(pod)

        assert container["image"] == f"eddy-recs:{version('eddy-recs')}"
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]


def test_processes_of_a_flow_start_together_and_are_replaced_together() -> None:
    for flow in of_kind("StatefulSet", kustomized(BASE)).values():
        assert flow["spec"]["podManagementPolicy"] == "Parallel"
        assert flow["spec"]["updateStrategy"] == {"type": "OnDelete"}
        assert flow["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= 60


def test_the_flows_are_deployed_alike_but_for_their_name_and_number() -> None:
    built = kustomized(BASE)
    for flow in of_kind("StatefulSet", built).values():
        flow["spec"].pop("replicas")
        addresses = container_of(flow["spec"]["template"])["env"][0]
        assert addresses.pop("name") == "EDDY_CLUSTER__ADDRESSES"
        addresses.pop("value")
    for kind in ("Service", "StatefulSet", "PodDisruptionBudget", "NetworkPolicy"):
        by_name = of_kind(kind, built)

        assert set(by_name) - {"topics"} == {"recommend", "learn", "evaluate"}
        for name in ("learn", "evaluate"):
            assert json.loads(json.dumps(by_name[name]).replace(name, "recommend")) == by_name["recommend"]
