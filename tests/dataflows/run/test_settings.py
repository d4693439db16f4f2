"""What can be set, as whoever runs Eddy has it in their environment: names, defaults and bounds are a contract."""

import os

import pytest

from dataflows.cli.setting_list import all_settings
from dataflows.kafka.admin import Admin, OptionError
from dataflows.run.setting_errors import SettingsError
from dataflows.run.settings import Settings, load, variables
from models.items.wire import MAX_SESSIONS

DEFAULTS = {
    "EDDY_CONFIG": "",
    "EDDY_PRESET": "",
    "EDDY_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:9092",
    "EDDY_KAFKA__SECURITY_PROTOCOL": "plaintext",
    "EDDY_KAFKA__SASL_MECHANISM": "",
    "EDDY_KAFKA__SASL_USERNAME": "",
    "EDDY_KAFKA__SASL_PASSWORD": "",
    "EDDY_KAFKA__SSL_CA_LOCATION": "",
    "EDDY_KAFKA__SSL_CERTIFICATE_LOCATION": "",
    "EDDY_KAFKA__SSL_KEY_LOCATION": "",
    "EDDY_KAFKA__SSL_KEY_PASSWORD": "",
    "EDDY_KAFKA__START": "earliest",
    "EDDY_KAFKA__LOST_OFFSETS": "fail",
    "EDDY_KAFKA__OAUTH_CB": "",
    "EDDY_KAFKA__OPTIONS": "{}",
    "EDDY_KAFKA__CONSUMER_OPTIONS": "{}",
    "EDDY_KAFKA__PRODUCER_OPTIONS": "{}",
    "EDDY_TOPICS__PREFIX": "",
    "EDDY_TOPICS__FOLDER": "",
    "EDDY_TOPICS__PARTITIONS": "4",
    "EDDY_TOPICS__REPLICATION": "1",
    "EDDY_RECOVERY__FOLDER": "",
    "EDDY_RECOVERY__EPOCH_INTERVAL_S": "5",
    "EDDY_RECOVERY__LEARN_EPOCH_INTERVAL_S": "10",
    "EDDY_RECOVERY__PARTITIONS": "2",
    "EDDY_CLUSTER__ADDRESSES": "",
    "EDDY_CLUSTER__PROCESS_ID": "0",
    "EDDY_HTTP__HOST": "127.0.0.1",
    "EDDY_HTTP__PORT": "8080",
    "EDDY_HTTP__ENABLED": "true",
    "EDDY_PRIVACY__SECRETS": "[]",
    "EDDY_PRIVACY__SIGNING_KEY": "",
    "EDDY_PRIVACY__SIGNING_KEY_FILE": "",
    "EDDY_PRIVACY__MAX_ERASED": "1000000",
    "EDDY_SERVE__HOST": "127.0.0.1",
    "EDDY_SERVE__PORT": "8000",
    "EDDY_SERVE__STORE": "",
    "EDDY_SERVE__STORE_URL": "",
    "EDDY_SERVE__TOKENS": "{}",
    "EDDY_SERVE__CORS": "[]",
    "EDDY_SERVE__WAIT_MS": "500",
    "EDDY_SERVE__MAX_BODY_BYTES": "1000000",
    "EDDY_SERVE__MAX_STREAMS": "1000",
    "EDDY_SERVE__MAX_CONNECTIONS": "2000",
    "EDDY_EVENTS__WEIGHTS": (
        '{"impression":0.0,"view":1.0,"click":1.0,"dwell":0.5,"like":2.0,"share":2.0,"rating":1.0,'
        '"cart":3.0,"purchase":5.0,"dislike":-1.0}'
    ),
    "EDDY_EVENTS__OWNING_TYPES": '["purchase"]',
    "EDDY_EVENTS__TRIGGERS": "",
    "EDDY_EVENTS__CONFLATE": "1",
    "EDDY_EVENTS__SEGMENT_FIELDS": '["device","daypart"]',
    "EDDY_EVENTS__TEXT_FIELD": "",
    "EDDY_EVENTS__MAX_BYTES": "65536",
    "EDDY_EVENTS__MAX_FUTURE_S": "300",
    "EDDY_EVENTS__KEYS": "user_id",
    "EDDY_PROFILE__SESSION_GAP_S": "1800",
    "EDDY_PROFILE__LATENESS_S": "600",
    "EDDY_PROFILE__HALF_LIFE_MOMENT_S": "1800",
    "EDDY_PROFILE__HALF_LIFE_HABIT_S": "1209600",
    "EDDY_PROFILE__HALF_LIFE_IMPRESSIONS_S": "86400",
    "EDDY_PROFILE__EXPIRE_AFTER_S": "7776000",
    "EDDY_PROFILE__MAX_OWNED": "256",
    "EDDY_PROFILE__HABITS_WITHIN": "false",
    "EDDY_PROFILE__MAX_EVENTS_PER_5_MIN": "300",
    "EDDY_LEARN__SHARDS": "64",
    "EDDY_LEARN__PUBLISH_EVERY_S": "1.0",
    "EDDY_LEARN__MAX_ROWS_PER_PUBLISH": "2000",
    "EDDY_LEARN__MAX_ITEMS": "2000000",
    "EDDY_LEARN__SESSIONS": "262144",
    "EDDY_LEARN__HALF_LIFE_SHORT_S": "86400",
    "EDDY_LEARN__HALF_LIFE_LONG_S": "31536000",
    "EDDY_LEARN__GRADUATES_AFTER": "0",
    "EDDY_LEARN__HALF_LIFE_BETWEEN_S": "7776000",
    "EDDY_LEARN__MIN_USERS": "5",
    "EDDY_LEARN__HISTORY": "128",
    "EDDY_LEARN__HISTORY_S": "2592000",
    "EDDY_LEARN__TEXT": "hashed",
    "EDDY_LEARN__TEXT_MODEL": "",
    "EDDY_EVALUATE__GOAL": "ctr",
    "EDDY_EVALUATE__ATTRIBUTION_WINDOW_S": "86400",
    "EDDY_EVALUATE__ALIGNMENT_S": "60",
    "EDDY_EVALUATE__RETENTION_S": "604800",
    "EDDY_EVALUATE__PUBLISH_EVERY_S": "10.0",
    "EDDY_EVALUATE__MAX_SLATE_BYTES": "1000000",
    "EDDY_ATTRIBUTION__IMPRESSIONS": "slate",
    "EDDY_ATTRIBUTION__WINDOW_S": "1800",
    "EDDY_ATTRIBUTION__WINDOWS_S": "{}",
    "EDDY_ATTRIBUTION__WAIT_S": "600",
    "EDDY_ATTRIBUTION__SECONDS_TO_COUNT": "2.0",
    "EDDY_ATTRIBUTION__LATENESS_S": "600",
    "EDDY_ATTRIBUTION__MAX_SLATES": "128",
    "EDDY_RANKER__NAME": "none",
    "EDDY_RANKER__PER_ARM": "false",
    "EDDY_RANKER__LOSS": "cross_entropy",
    "EDDY_RANKER__LEARNING_RATE": "0.003",
    "EDDY_RANKER__FINE_TUNE": "all",
    "EDDY_RANKER__DEVICE": "cpu",
    "EDDY_RANKER__BATCH_SIZE": "32",
    "EDDY_RANKER__RESERVOIR": "1024",
    "EDDY_RANKER__REHEARSED": "1.0",
    "EDDY_RANKER__PUBLISH_EVERY": "8",
    "EDDY_RANKER__GUARD_SLATES": "512",
    "EDDY_RANKER__MIN_JUDGED": "64",
    "EDDY_RANKER__ALPHA": "0.05",
    "EDDY_RANKER__REHEARSAL_HALF_LIFE": "8192",
    "EDDY_RANKER__ALARM_SLATES": "2048",
    "EDDY_RANKER__ALARM_RATE": "2.0",
    "EDDY_RANKER__MIN_EXAMINATION": "0.1",
    "EDDY_FUNNEL__LEARN": "false",
    "EDDY_FUNNEL__CART_TYPES": '["cart"]',
    "EDDY_FUNNEL__LEARNING_RATE": "0.003",
    "EDDY_FUNNEL__PUBLISH_EVERY": "8",
    "EDDY_STRATEGY__SOURCES": (
        '{"session_knn":1.0,"sequential_rules":0.5,"covisitation":0.3,"two_step_rules":0.5,'
        '"revisits":0.3,"habits":0.5,"content":0.3,"trending":0.1,"sequence":0.5}'
    ),
    "EDDY_STRATEGY__RANKER": "blend",
    "EDDY_STRATEGY__WORTH": '{"click":{"weight":1.0,"per":"act"}}',
    "EDDY_STRATEGY__N_CANDIDATES": "100",
    "EDDY_STRATEGY__N_FROM_EACH": "5",
    "EDDY_STRATEGY__SOURCES_BY_SESSION": "[]",
    "EDDY_STRATEGY__N_ITEMS": "10",
    "EDDY_STRATEGY__COLD_SHARE": "0.0",
    "EDDY_STRATEGY__COLD_MOST": "3",
    "EDDY_STRATEGY__COLD_ACTS": "5.0",
    "EDDY_STRATEGY__DIVERSITY": "0.15",
    "EDDY_STRATEGY__SWAPPED": "0.0",
    "EDDY_STRATEGY__SAMPLED": "0.0",
    "EDDY_STRATEGY__EXPLORATION_SLOTS": "1",
    "EDDY_STRATEGY__EXPLORATION_TEMPERATURE": "1.0",
    "EDDY_STRATEGY__MAX_PER_CATEGORY": "5",
    "EDDY_STRATEGY__ALLOW_SEEN": "false",
    "EDDY_STRATEGY__ALLOW_CURRENT": "false",
    "EDDY_STRATEGY__ALLOW_OWNED": "false",
    "EDDY_STRATEGY__MAX_IMPRESSIONS": "5",
    "EDDY_STRATEGY__RULES": "[]",
    "EDDY_PLACEMENTS": "{}",
    "EDDY_EXPERIMENTS": "[]",
    "EDDY_EXPERIMENTS_FILE": "",
    "EDDY_CHECKPOINT": "",
    "EDDY_SEQUENCE_MODEL": "",
    "EDDY_LANGUAGE": "en",
    "EDDY_PHRASES": "",
    "EDDY_LOG_FEATURES": "auto",
    "EDDY_THREADS": "0",
    "EDDY_DELIVERY": "transactional",
    "EDDY_WATCHDOG_S": "300.0",
    "EDDY_LOG_LEVEL": "info",
    "EDDY_LOG_FORMAT": "text",
}
"""Every variable, and its default as it is written in the environment."""

OUT_OF_RANGE = """
EDDY_TOPICS__PARTITIONS=0 EDDY_TOPICS__PARTITIONS=1025 EDDY_TOPICS__REPLICATION=0 EDDY_TOPICS__REPLICATION=17
EDDY_RECOVERY__EPOCH_INTERVAL_S=-1 EDDY_RECOVERY__LEARN_EPOCH_INTERVAL_S=-1 EDDY_RECOVERY__PARTITIONS=0
EDDY_RECOVERY__PARTITIONS=4097 EDDY_CLUSTER__PROCESS_ID=-1 EDDY_HTTP__PORT=-1 EDDY_HTTP__PORT=65536
EDDY_EVENTS__CONFLATE=0 EDDY_EVENTS__MAX_BYTES=255 EDDY_EVENTS__MAX_FUTURE_S=-1
EDDY_PROFILE__SESSION_GAP_S=0 EDDY_PROFILE__LATENESS_S=-1 EDDY_PROFILE__HALF_LIFE_MOMENT_S=0
EDDY_PROFILE__HALF_LIFE_HABIT_S=0 EDDY_PROFILE__HALF_LIFE_IMPRESSIONS_S=0 EDDY_PROFILE__EXPIRE_AFTER_S=59
EDDY_PROFILE__MAX_OWNED=0 EDDY_PROFILE__MAX_OWNED=65537 EDDY_PROFILE__MAX_EVENTS_PER_5_MIN=0
EDDY_LEARN__SHARDS=0 EDDY_LEARN__SHARDS=1025 EDDY_LEARN__PUBLISH_EVERY_S=0 EDDY_LEARN__MAX_ROWS_PER_PUBLISH=0
EDDY_LEARN__SESSIONS=0 EDDY_LEARN__SESSIONS=4194305 EDDY_LEARN__HALF_LIFE_SHORT_S=0 EDDY_LEARN__HALF_LIFE_LONG_S=0
EDDY_LEARN__HALF_LIFE_BETWEEN_S=0
EDDY_LEARN__MIN_USERS=0 EDDY_LEARN__MAX_ITEMS=0 EDDY_LEARN__TEXT=spoken
EDDY_EVALUATE__GOAL=joy EDDY_EVALUATE__ATTRIBUTION_WINDOW_S=0 EDDY_EVALUATE__ALIGNMENT_S=-1
EDDY_EVALUATE__RETENTION_S=86399 EDDY_EVALUATE__PUBLISH_EVERY_S=0 EDDY_EVALUATE__MAX_SLATE_BYTES=1023
EDDY_ATTRIBUTION__IMPRESSIONS=guess EDDY_ATTRIBUTION__WINDOW_S=0 EDDY_ATTRIBUTION__WINDOW_S=86401
EDDY_ATTRIBUTION__WINDOWS_S={"purchase":86401} EDDY_ATTRIBUTION__WINDOWS_S={"purchase":0}
EDDY_ATTRIBUTION__WAIT_S=-1 EDDY_ATTRIBUTION__WAIT_S=86401 EDDY_ATTRIBUTION__LATENESS_S=-1
EDDY_ATTRIBUTION__MAX_SLATES=0 EDDY_ATTRIBUTION__MAX_SLATES=1025
EDDY_RANKER__NAME=oracle EDDY_RANKER__LOSS=hinge EDDY_RANKER__LEARNING_RATE=0 EDDY_RANKER__FINE_TUNE=some
EDDY_RANKER__BATCH_SIZE=0 EDDY_RANKER__RESERVOIR=0 EDDY_RANKER__REHEARSED=-0.1 EDDY_RANKER__PUBLISH_EVERY=0
EDDY_RANKER__GUARD_SLATES=0 EDDY_RANKER__MIN_JUDGED=0 EDDY_RANKER__ALPHA=0 EDDY_RANKER__MIN_EXAMINATION=0
EDDY_ATTRIBUTION__SECONDS_TO_COUNT=-1 EDDY_ATTRIBUTION__SECONDS_TO_COUNT=3601 EDDY_STRATEGY__SWAPPED=1.1
EDDY_FUNNEL__LEARNING_RATE=0 EDDY_FUNNEL__PUBLISH_EVERY=0 EDDY_STRATEGY__WORTH={"click":{"weight":-1}}
EDDY_STRATEGY__SAMPLED=1.1 EDDY_RANKER__REHEARSAL_HALF_LIFE=0 EDDY_RANKER__ALARM_SLATES=-1 EDDY_RANKER__ALARM_RATE=0.9
EDDY_STRATEGY__N_ITEMS=0 EDDY_STRATEGY__N_FROM_EACH=-1 EDDY_STRATEGY__N_FROM_EACH=101
EDDY_STRATEGY__SOURCES={"trending":-1}
EDDY_THREADS=-1 EDDY_THREADS=65 EDDY_DELIVERY=pigeon EDDY_WATCHDOG_S=-1 EDDY_LOG_LEVEL=loud
"""


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("EDDY_")]:
        monkeypatch.delenv(name)


def test_every_variable_keeps_its_name_and_its_default() -> None:
    assert {setting.variable: setting.default for setting in all_settings()} == DEFAULTS
    assert sorted(variables()) == sorted(DEFAULTS)


def test_an_environment_that_says_every_default_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in DEFAULTS.items():
        monkeypatch.setenv(name, value)
    assert load() == Settings()


@pytest.mark.parametrize("assignment", OUT_OF_RANGE.split())
def test_a_value_out_of_range_is_refused_with_the_variable_s_name(
    monkeypatch: pytest.MonkeyPatch, assignment: str
) -> None:
    name, _, value = assignment.partition("=")
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=rf"^{name}: "):
        load()


def test_the_most_sessions_that_can_be_set_are_what_a_table_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDDY_LEARN__SESSIONS", str(MAX_SESSIONS))
    assert load().learn.sessions == MAX_SESSIONS == 4_194_304


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("EDDY_PROFILE__LATENESS_S", "5s", "EDDY_PROFILE__LATENESS_S: Expected `int`, got `str`, not '5s'"),
        ("EDDY_PROFILE__LATENES_S", "5", "unknown setting EDDY_PROFILE__LATENES_S: did you mean EDDY_PROFILE__LATEN"),
        ("EDDY_KAFKA__STRAT", "latest", "unknown setting EDDY_KAFKA__STRAT: did you mean EDDY_KAFKA__START?"),
        ("EDDY_WATCHDOG", "5", "unknown setting EDDY_WATCHDOG: did you mean EDDY_WATCHDOG_S?"),
        ("EDDY_BIRTHDAY", "5", "unknown setting EDDY_BIRTHDAY: see `eddy doctor --settings` for all names"),
        ("EDDY_RANKER__LOSS", "soft", "EDDY_RANKER__LOSS: Invalid enum value 'soft': did you mean 'softmax'?"),
        ("EDDY_EVENTS__WEIGHTS", '{"view": "much"}', "EDDY_EVENTS__WEIGHTS: view: Expected `float`, got `str`"),
        ("EDDY_EVENTS__WEIGHTS", '{"view": 1', "EDDY_EVENTS__WEIGHTS: Input data was truncated: give it as JSON"),
        ("EDDY_EVENTS__OWNING_TYPES", "like", "EDDY_EVENTS__OWNING_TYPES: Expected `array`, got `str`, not 'like'"),
        ("EDDY_RANKER__PER_ARM", "maybe", "EDDY_RANKER__PER_ARM: Expected `bool`, got `str`, not 'maybe': say true"),
        ("EDDY_STRATEGY__SOURCES", '{"trending": 0}', "EDDY_STRATEGY: no source has a weight above 0"),
        ("EDDY_STRATEGY__WORTH", '{"click": {"weight": 0}}', "EDDY_STRATEGY: no stage is worth anything"),
        ("EDDY_STRATEGY__WORTH", '{"love": {}}', "EDDY_STRATEGY__WORTH"),
        ("EDDY_EVENTS", "click", "EDDY_EVENTS is a section: set what is in it one by one, as EDDY_EVENTS__NAME"),
        ("EDDY_KAFKA__OPTIONS", "rack", "EDDY_KAFKA__OPTIONS: this is no JSON; give it as in '{"),
        ("EDDY_EXPERIMENTS", "one", "EDDY_EXPERIMENTS: this is no JSON"),
        ("EDDY_EXPERIMENTS", '[{"name": "e"}]', "EDDY_EXPERIMENTS: [0]: Object missing required field `variants`"),
        ("EDDY_PRIVACY__SECRETS", "[tell-nobody", "EDDY_PRIVACY__SECRETS: this is no JSON; give it as in '{"),
    ],
)  # fmt: skip
def test_an_error_names_the_variable_and_a_remedy(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as error:
        load()
    assert "tell-nobody" not in str(error.value)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(("value", "expected"), [("yes", True), ("ON", True), ("1", True), ("no", False), ("f", False)])
@pytest.mark.parametrize("name", ["EDDY_RANKER__PER_ARM", "EDDY_STRATEGY__ALLOW_SEEN", "EDDY_HTTP__ENABLED"])
def test_truth_values_are_said_in_the_same_words_in_every_section(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, *, expected: bool
) -> None:
    monkeypatch.setenv(name, value)
    _, section, field = name.lower().replace("__", "_", 1).split("_", 2)
    assert getattr(getattr(load(), section), field) is expected


@pytest.mark.parametrize("value", ["1000", " 1000 ", "+1000", "01000", "1_000"])
@pytest.mark.parametrize(
    "name", ["EDDY_PROFILE__LATENESS_S", "EDDY_TOPICS__PARTITIONS", "EDDY_EVALUATE__PUBLISH_EVERY_S"]
)
def test_numbers_are_written_as_in_python_in_every_section(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    _, section, field = name.lower().replace("__", "_", 1).split("_", 2)
    assert getattr(getattr(load(), section), field) == 1_000


def test_all_errors_are_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {"EDDY_PROFILE__LATENESS_S": "-1", "EDDY_PROFILE__MAX_OWNED": "0", "EDDY_HTTP__PORT": "many"}
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as error:
        load()
    assert all(f"{name}: " in str(error.value) for name in wrong)


def test_lists_and_tables_are_read_as_json_and_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDDY_EVENTS__TRIGGERS", '["click", "view"]')
    monkeypatch.setenv("EDDY_EVENTS__SEGMENT_FIELDS", "[]")
    monkeypatch.setenv("EDDY_ATTRIBUTION__WINDOWS_S__PURCHASE", "86400")
    loaded = load()
    assert loaded.events.triggers == {"click", "view"}
    assert loaded.events.segment_fields == ()
    assert loaded.attribution.windows_s == {"purchase": 86_400}


def test_durations_are_said_in_seconds_and_measured_in_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDDY_PROFILE__SESSION_GAP_S", "60")
    monkeypatch.setenv("EDDY_LEARN__HALF_LIFE_SHORT_S", "120")
    monkeypatch.setenv("EDDY_ATTRIBUTION__WINDOWS_S", '{"purchase": 3600}')
    loaded = load()
    assert loaded.profile.session_gap_ms == 60_000
    assert loaded.learn.half_life_short_ms == 120_000
    assert loaded.attribution.window_ms_of("purchase") == 3_600_000
    assert loaded.attribution.window_ms_of("click") == 1_800_000
    assert loaded.attribution.closes_after_ms == 4_200_000


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("rediss://u:hunter2@[::1]:6380/1", None),
        ("postgresql://u:hunter2@host:5432/eddy?sslmode=require", None),
        ("mysql://u:hunter2@host/eddy", "names no store that is known"),
        ("host:6379", "names no store that is known"),
        ("redis:hunter2@host", "names no store that is known"),
        ("redis://", "names no host"),
        ("postgresql:///eddy", "names no host"),
        ("redis://u:hunter2/x@host:6379", "this is no URL.*write % as %25, / as %2F"),
        ("redis://u:hunter2@[host/0", "this is no URL"),
    ],
)
def test_a_wrong_url_of_a_store_is_told_without_a_word_of_it(
    monkeypatch: pytest.MonkeyPatch, url: str, fault: str | None
) -> None:
    monkeypatch.setenv("EDDY_SERVE__STORE_URL", url)
    if fault is None:
        settings = load()
        assert "hunter2" not in repr(settings) + str(settings.serve) + settings.model_dump_json()
        return
    with pytest.raises(SettingsError, match=f"^EDDY_SERVE__STORE_URL: .*{fault}") as caught:
        load()
    assert "hunter2" not in str(caught.value)


def test_no_option_of_a_client_is_shown_since_some_are_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPTIONS", "CONSUMER_OPTIONS", "PRODUCER_OPTIONS"):
        monkeypatch.setenv(f"EDDY_KAFKA__{name}", '{"sasl.password": "hunter2"}')
    settings = load()
    assert settings.kafka.client()["sasl.password"] == "hunter2"
    for shown in (repr(settings), str(settings), repr(settings.kafka), f"{settings.kafka}"):
        assert "hunter2" not in shown


def test_an_option_that_is_no_json_is_refused_without_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("hunter2", '{"a": {"b": "hunter2"}}', '["hunter2"]'):
        monkeypatch.setenv("EDDY_KAFKA__OPTIONS", value)
        with pytest.raises(SettingsError) as refused:
            load()
        assert "EDDY_KAFKA__OPTIONS" in str(refused.value).upper() or "kafka" in str(refused.value)
        assert "hunter2" not in str(refused.value)


def test_an_option_that_the_client_does_not_know_is_told_without_a_traceback() -> None:
    with pytest.raises(OptionError, match=r"EDDY_KAFKA__OPTIONS.*client\.rak"):
        Admin({"client.rak": "a"})
