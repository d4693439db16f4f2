"""All settings, frozen. Only `load` reads the environment; everything else is given what it needs."""

import os
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableError

from dataflows.errors import EddyError
from dataflows.run.preset_source import PresetSource
from dataflows.run.presets import PresetName
from dataflows.topics import ATTRIBUTION_WINDOW_S
from models.names import EVENT_WEIGHTS, OWNING_TYPES, LearnerName, MetricName
from models.segments import DEFAULT_FIELDS
from models.strategy import Strategy

Option: TypeAlias = str | int | float | bool


class SettingsError(EddyError):
    """A setting is wrong; the text says which, why, and how to mend it."""


class Section(BaseModel):
    """A group of settings: frozen, and an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class KafkaSettings(Section):
    """How to reach the cluster."""

    bootstrap_servers: str = "127.0.0.1:9092"
    """Brokers, `host:port` separated by commas."""
    security_protocol: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = "plaintext"
    sasl_mechanism: str | None = None
    """`PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`, `OAUTHBEARER`, ..."""
    sasl_username: str | None = None
    """Who asks, where the protocol is one of SASL's."""
    sasl_password: SecretStr | None = None
    """Shown nowhere."""
    ssl_ca_location: Path | None = None
    """Certificates of those who may sign the brokers'; none: the system's."""
    ssl_certificate_location: Path | None = None
    """Our own certificate, where the brokers ask for one."""
    ssl_key_location: Path | None = None
    """Its private key."""
    ssl_key_password: SecretStr | None = None
    """What opens the key; shown nowhere."""
    start: Literal["earliest", "latest"] = "earliest"
    """Where a flow without a snapshot begins to read."""
    lost_offsets: Literal["fail", "earliest"] = "fail"
    """What a flow does where the log no longer holds the offset at which it has to go on."""
    options: dict[str, Option] = Field(default_factory=dict)
    """Any other librdkafka option, for every client."""
    consumer_options: dict[str, Option] = Field(default_factory=dict)
    """librdkafka options for consumers only."""
    producer_options: dict[str, Option] = Field(default_factory=dict)
    """librdkafka options for producers only."""

    def client(self) -> dict[str, Option]:
        """Return the librdkafka configuration that all clients share. It holds secrets: never log it."""
        config: dict[str, Option] = {
            "bootstrap.servers": self.bootstrap_servers,
            "security.protocol": self.security_protocol,
            "log.connection.close": False,
        }
        optional = {
            "sasl.mechanism": self.sasl_mechanism,
            "sasl.username": self.sasl_username,
            "sasl.password": self.sasl_password.get_secret_value() if self.sasl_password else None,
            "ssl.ca.location": self.ssl_ca_location,
            "ssl.certificate.location": self.ssl_certificate_location,
            "ssl.key.location": self.ssl_key_location,
            "ssl.key.password": self.ssl_key_password.get_secret_value() if self.ssl_key_password else None,
        }
        config.update({name: str(value) for name, value in optional.items() if value is not None})
        return config | self.options


class TopicSettings(Section):
    """Where the topics are."""

    prefix: str = ""
    """Put before every topic's name: `shop-` makes `shop-events`."""
    folder: Path | None = None
    """Read and write file topics in this folder instead of Kafka."""
    partitions: int = Field(default=4, ge=1, le=1024)
    """Partitions of a topic that `eddy topics create` makes."""
    replication: int = Field(default=1, ge=1, le=16)
    """Copies of each partition that `eddy topics create` asks for: 3 in production."""


class RecoverySettings(Section):
    """Where state survives a crash."""

    folder: Path | None = None
    """The recovery store's folder, one sub-folder a flow; none: a crash starts from the log's beginning."""
    epoch_interval_s: int = Field(default=5, ge=0)
    """Seconds between snapshots of `recommend`: the flow rests while one is written, and a crash repeats so much."""
    learn_epoch_interval_s: int = Field(default=10, ge=0)
    """Seconds between snapshots of `learn`, which packs whole shards, and of `evaluate`: nobody waits for them."""
    partitions: int = Field(default=8, ge=1, le=4096)
    """Files of the store, fixed when it is made. Each is synced to the disk at a snapshot, so many make a long pause;
    but a resume is quadratic in the users of one: take 64 from 300,000 users a process on."""


class ClusterSettings(Section):
    """The processes that share one flow."""

    addresses: str = ""
    """`host:port` of every process, separated by `;`; empty: one process."""
    process_id: int = Field(default=0, ge=0)
    """This process's place in `addresses`."""

    @property
    def members(self) -> list[str]:
        """All processes' addresses, empty for one process."""
        return [address.strip() for address in self.addresses.split(";") if address.strip()]

    @model_validator(mode="after")
    def _check_place(self) -> "ClusterSettings":
        if self.members and self.process_id >= len(self.members):
            raise ValueError(
                f"process_id is {self.process_id}, but addresses has {len(self.members)} entries: "
                "number the processes from 0"
            )
        return self


class HttpSettings(Section):
    """The health and metrics endpoint."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 where probes come from outside, as in a container."""
    port: int = Field(default=8080, ge=0, le=65535)
    """0 takes a free port."""
    enabled: bool = True
    """Whether there is an endpoint at all."""


class EventSettings(Section):
    """What events mean."""

    weights: dict[str, float] = Field(default_factory=EVENT_WEIGHTS.copy)
    """Weight of each known event type; an event of any other type is a dead letter."""
    owning_types: frozenset[str] = OWNING_TYPES
    """Event types after which the user has the item."""
    triggers: frozenset[str] | None = None
    """Event types that make a slate; none: all but impressions."""
    conflate: int = Field(default=1, ge=1)
    """Of a user's triggers in a run of so many offsets of a partition only the first makes a slate; 1: each does."""
    segment_fields: tuple[str, ...] = DEFAULT_FIELDS
    """Context fields whose values make the trending segments, the one that counts most first; `daypart` is the quarter
    of the day, by the context's `hour`, else UTC's."""
    text_field: str | None = None
    """Context field that holds what the user wrote: items are then sought by their likeness to it, as by a request's
    `query`; none: there is no such field."""
    max_bytes: int = Field(default=65_536, ge=256)
    """A larger message is a dead letter."""
    max_future_s: int = Field(default=300, ge=0)
    """How far an event's time may lie beyond its record's own timestamp."""


class ProfileSettings(Section):
    """Windows and interest profiles."""

    session_gap_s: int = Field(default=1_800, ge=1)
    """The longest pause inside a session that the platform did not name."""
    lateness_s: int = Field(default=600, ge=0)
    """Allowed lateness: an event older than its user's newest by more than this is a dead letter."""
    half_life_moment_s: int = Field(default=1_800, ge=1)
    """Half-life of what a user is after now."""
    half_life_habit_s: int = Field(default=14 * 86_400, ge=1)
    """Half-life of what a user likes by habit."""
    half_life_impressions_s: int = Field(default=86_400, ge=1)
    """Half-life of what was shown without a reaction; it says how long an item rests that was shown too often."""
    expire_after_s: int = Field(default=90 * 86_400, ge=60)
    """A user idle for longer is forgotten."""
    max_owned: int = Field(default=256, ge=1, le=65_536)
    """Items kept that a user has, some 9 bytes each: the newest. What an item requires and excludes goes by them."""
    max_events_per_5_min: int = Field(default=300, ge=1)
    """Whoever acts faster is a bot: counted, but without a slate and a say in the tables."""


class LearnSettings(Section):
    """The item side."""

    shards: int = Field(default=64, ge=1, le=1024)
    """State keys of the item tables; fixed once a recovery store exists."""
    publish_every_s: float = Field(default=1.0, gt=0)
    """Seconds for which changes of a row are coalesced."""
    max_rows_per_publish: int = Field(default=2_000, ge=1)
    """Rows that a shard publishes at a time."""
    sessions: int = Field(default=1 << 18, ge=1, le=1 << 22)
    """Users whose newest session is kept for session kNN, some 170 bytes each in every recommend process."""
    half_life_short_s: int = Field(default=86_400, ge=1)
    """Half-life of trends."""
    half_life_long_s: int = Field(default=14 * 86_400, ge=1)
    """Half-life of an item's popularity and of what follows it."""
    min_users: int = Field(default=1, ge=1)
    """An item trends only once so many distinct users have acted on it."""
    text: Literal["hashed", "minilm"] = "hashed"
    """What makes vectors of item texts and searches: hashed words, or the sentence encoder of the extra `text`. All
    flows need the same; once it is changed, start `learn` on a new recovery store, since an item's vector is made when
    its entry is read."""


class EvaluateSettings(Section):
    """How outcomes are counted; what an experiment is judged by stands in its declaration."""

    goal: MetricName = "ctr"
    """The metric that decides an experiment whose declaration names none."""
    attribution_window_s: int = Field(default=86_400, ge=1)
    """An act counts for an item that was shown no longer ago."""
    alignment_s: int = Field(default=60, ge=0)
    """How far, in event time, one topic may be read ahead of the others."""
    retention_s: int = Field(default=7 * 86_400, ge=86_400)
    """Who acts again between a day and this long after the exposure has come back."""
    publish_every_s: float = Field(default=10.0, gt=0)
    """Seconds for which changes of an experiment are gathered."""
    max_slate_bytes: int = Field(default=1_000_000, ge=1_024)
    """A larger slate or assignment is not read."""


Window = Annotated[int, Field(ge=1, le=ATTRIBUTION_WINDOW_S)]


class AttributionSettings(Section):
    """Which feedback is a slate's, for the rankers that learn from it."""

    impressions: Literal["slate", "event"] = "slate"
    """`slate`: an item was shown when its slate was made; `event`: when an `impression` event says so. Experiments are
    judged by the same."""
    window_s: Window = 1_800
    """Seconds after its impression for which an item's feedback counts; slates are kept for twice a day."""
    windows_s: dict[str, Window] = Field(default_factory=dict)
    """The same for some event types: `{"purchase": 86400}`. A slate is decided when the longest has closed."""
    wait_s: int = Field(default=600, ge=0, le=ATTRIBUTION_WINDOW_S)
    """Longest time from a slate to its `impression` events."""
    lateness_s: int = Field(default=600, ge=0)
    """Seconds for which a slate whose windows have closed waits for what comes late."""
    max_slates: int = Field(default=128, ge=1, le=1_024)
    """Slates of a user that wait at a time; more are given up, the oldest first, and counted. A replay that reads
    slates ahead of events needs room for them."""


class RankerSettings(Section):
    """The ranker that `learn` trains on feedback."""

    name: Literal["none", LearnerName] = "none"
    """Which one learns; strategies ask for it by the same name. `none`: nothing is attributed and nothing learned."""
    per_arm: bool = False
    """Train one for each variant on its own slates, instead of one on all: an arm's ranker then knows nothing that
    another arm showed, which keeps a test clean and makes both learn slower."""
    loss: Literal["cross_entropy", "mse", "softmax"] = "cross_entropy"
    """What it learns by where it starts from nothing; from a checkpoint it goes on by the checkpoint's own."""
    learning_rate: float = Field(default=1e-3, gt=0)
    fine_tune: Literal["all", "adapter"] = "all"
    """`adapter` leaves the checkpoint's network as it is, and learns a small correction beside it."""
    device: str = "cpu"
    """Where networks learn and score, as PyTorch names it: `cpu`, `cuda`."""
    batch_size: int = Field(default=32, ge=1)
    """Slates a step."""
    reservoir: int = Field(default=1_024, ge=1)
    """Old slates that are kept to be learned again."""
    rehearsed: float = Field(default=1.0, ge=0)
    """Old slates a new one in each step."""
    publish_every: int = Field(default=8, ge=1)
    """Steps from one decision about a new version to the next."""
    guard_slates: int = Field(default=512, ge=1)
    """Newest slates on which a new version has to be better than the one in service."""
    min_judged: int = Field(default=64, ge=1)
    """Slates with a positive and a negative below which nothing is decided."""
    margin: float = Field(default=1.0, ge=0)
    """Standard errors by which it has to be better."""


class Settings(BaseSettings):
    """Everything that can be set, by `EDDY_<SECTION>__<NAME>` in the environment; empty means the default."""

    model_config = SettingsConfigDict(
        env_prefix="EDDY_",
        env_nested_delimiter="__",
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
    )

    preset: PresetName | None = None
    """Settings for a field of use, for all that is not set here: `session-shop`, `shop`, `video`, `articles`, `social`,
    `ads`, `replies`, `care`, `courses` or `city`. `eddy doctor --settings --preset NAME` lists what one says."""
    kafka: KafkaSettings = KafkaSettings()
    topics: TopicSettings = TopicSettings()
    recovery: RecoverySettings = RecoverySettings()
    cluster: ClusterSettings = ClusterSettings()
    http: HttpSettings = HttpSettings()
    events: EventSettings = EventSettings()
    profile: ProfileSettings = ProfileSettings()
    learn: LearnSettings = LearnSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    attribution: AttributionSettings = AttributionSettings()
    ranker: RankerSettings = RankerSettings()
    strategy: Strategy = Strategy()
    """How slates are made for users in no experiment."""
    experiments_file: Path | None = None
    """YAML or JSON file of experiments."""
    checkpoint: Path | None = None
    """Checkpoint of a trained ranker, to serve and to go on from; none: the `mlp` that comes with this release."""
    threads: int = Field(default=0, ge=0, le=64)
    """Threads that answer a large batch together; 0: one a core, at most 4."""
    delivery: Literal["transactional", "idempotent"] = "transactional"
    """`transactional` fences a second copy of a flow; `idempotent` saves some milliseconds and does not."""
    watchdog_s: float = Field(default=300.0, ge=0)
    """A flow that has stood still for so many seconds ends, to be started again; 0 lets it stand."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def n_threads(self) -> int:
        """Threads that answer a large batch together."""
        return self.threads or min(os.cpu_count() or 1, 4)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Ask the preset last."""
        return init_settings, env_settings, PresetSource(settings_cls)

    @field_validator("strategy", mode="before")
    @classmethod
    def _read_strategy(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        if unknown := sorted(value.keys() - {field.name for field in fields(Strategy)}):
            raise ValueError(f"a strategy has no {', '.join(unknown)}")
        # The environment gives text, and only a section of pydantic's own would have its JSON read.
        given = {
            name: msgspec.json.decode(part) if isinstance(part, str) and part.startswith("{") else part
            for name, part in value.items()
        }
        return msgspec.convert(given, Strategy, strict=False)


def load(**overrides: object) -> Settings:
    """Read settings from the environment; the one place that does.

    Raises
    ------
    SettingsError : a value is wrong or an `EDDY_` variable is unknown; the text names the variable.
    """
    try:
        settings = Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        lines = [
            f"EDDY_{'__'.join(str(part) for part in problem['loc']).upper()}: {problem['msg']}"
            for problem in error.errors()
        ]
        raise SettingsError("; ".join(lines)) from None
    except UnreadableError as error:
        # The value stays out of the text, since it may be a secret.
        raise SettingsError(f'{error}: give it as JSON, as in EDDY_KAFKA__OPTIONS=\'{{"client.rack": "a"}}\'') from None
    known = {f"EDDY_{name.upper()}" for name in Settings.model_fields}
    unknown = sorted(name for name in os.environ if name.startswith("EDDY_") and name.partition("__")[0] not in known)
    if unknown:
        raise SettingsError(f"unknown setting {', '.join(unknown)}: see `eddy doctor --settings` for all names")
    return settings
