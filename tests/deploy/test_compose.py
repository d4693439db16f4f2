"""One machine: a broker, the topics, the flows."""

import json
from importlib.metadata import distribution, version
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from dataflows.run.setting_errors import SettingsError
from tests import places
from tests.deploy.manifests import Document, compose, image_environment, only, secret_settings, settings_in

FLOWS = ("recommend", "learn", "evaluate")


def services() -> dict[str, Document]:
    return dict(compose()["services"])


def the_published_schema() -> Draft202012Validator:
    # The Compose Specification's own schema, as check-jsonschema ships it.
    path = distribution("check-jsonschema").locate_file("check_jsonschema/builtin_schemas/vendor/compose-spec.json")
    schema: Any = json.loads(path.read_text())
    return Draft202012Validator(schema)


def test_the_file_follows_the_compose_specification() -> None:
    the_published_schema().validate(compose())


def test_the_specification_refuses_a_misspelt_key() -> None:
    misspelt = compose()
    misspelt["services"]["learn"]["restrat"] = "always"

    with pytest.raises(ValidationError, match="restrat"):
        the_published_schema().validate(misspelt)


def test_every_image_is_pinned_and_ours_has_the_version_of_the_project() -> None:
    images = {name: service["image"].split(":") for name, service in services().items()}

    theirs = [images.pop(name)[1] for name in ("kafka", "prometheus", "grafana")]
    assert all(tag.lstrip("v")[0].isdigit() for tag in theirs)
    assert images.pop("serve") == images["topics"]
    assert set(images) == {"topics", *FLOWS}
    assert {tuple(image) for image in images.values()} == {("eddy-recs", version("eddy-recs"))}


def test_the_flows_wait_for_their_topics_and_the_topics_for_a_healthy_broker() -> None:
    assert services()["topics"]["depends_on"] == {"kafka": {"condition": "service_healthy"}}
    assert "healthcheck" in services()["kafka"]
    for flow in FLOWS:
        assert services()[flow]["depends_on"] == {"topics": {"condition": "service_completed_successfully"}}


def test_the_topics_are_made_once_and_the_flows_come_back() -> None:
    assert services()["topics"]["restart"] == "on-failure"
    assert {services()[flow]["restart"] for flow in FLOWS} == {"unless-stopped"}


def test_every_volume_and_config_is_declared_and_used() -> None:
    mounts = [mount for service in services().values() for mount in service.get("volumes", [])]
    configs = [config["source"] for service in services().values() for config in service.get("configs", [])]

    assert sorted(mount.split(":")[0] for mount in mounts) == sorted(compose()["volumes"])
    assert set(configs) == set(compose()["configs"])


def test_each_flow_keeps_its_own_state_on_the_volume_of_the_image() -> None:
    for flow in FLOWS:
        assert services()[flow]["volumes"] == [f"{flow}-state:{only('VOLUME')}"]


def test_a_flow_can_write_to_its_volume_and_its_temporary_folder_alone() -> None:
    for flow in FLOWS:
        assert services()[flow]["read_only"]
        assert services()[flow]["tmpfs"] == ["/tmp"]  # noqa: S108 - the container's own
        assert services()[flow]["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("name", ["topics", *FLOWS])
def test_the_settings_are_valid_and_name_the_broker(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_in(image_environment() | services()[name]["environment"], monkeypatch)

    advertised = services()["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert settings.kafka.bootstrap_servers in [listener.split("://")[1] for listener in advertised.split(",")]
    assert settings.topics.replication == 1


def test_the_experiments_are_where_the_settings_say() -> None:
    recommend = services()["recommend"]

    assert [config["target"] for config in recommend["configs"]] == [recommend["environment"]["EDDY_EXPERIMENTS_FILE"]]


def test_nothing_is_published_beyond_this_machine_and_no_port_twice() -> None:
    published = [port for service in services().values() for port in service.get("ports", [])]
    host_ports = [port.split(":")[1] for port in published]

    assert all(port.startswith("127.0.0.1:") for port in published)
    assert len(set(host_ports)) == len(host_ports) == 1 + len(FLOWS) + len(("serve", "prometheus", "grafana"))
    assert all(services()[flow]["ports"][0].endswith(":" + only("EXPOSE")) for flow in FLOWS)


def test_the_door_and_what_observes_are_started_where_they_are_asked_for() -> None:
    asked = {name: service["profiles"] for name, service in services().items() if "profiles" in service}
    assert asked == {"serve": ["door"], "prometheus": ["observe"], "grafana": ["observe"]}


def test_the_door_listens_to_others_by_tokens_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = image_environment() | services()["serve"]["environment"]
    with pytest.raises(SettingsError, match="EDDY_SERVE__TOKENS"):
        settings_in(environment, monkeypatch)
    settings = settings_in(environment | {"EDDY_SERVE__TOKENS": '{"read": ["a long random word"]}'}, monkeypatch)
    [port] = services()["serve"]["ports"]
    assert port.endswith(f":{settings.serve.port}")
    assert f":{settings.serve.port}/healthz" in services()["serve"]["healthcheck"]["test"][-1]


def test_the_configs_are_files_of_this_folder() -> None:
    for config in compose()["configs"].values():
        assert "content" in config or (places.ROOT / "deploy" / config["file"]).is_file()


def test_the_file_holds_no_secret() -> None:
    given = {name for service in services().values() for name in service.get("environment", {})}

    assert secret_settings()
    assert given.isdisjoint(secret_settings())
