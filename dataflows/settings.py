"""All settings, frozen. Only `load` reads the environment; everything else is given what it needs."""

import os
from dataclasses import fields
from pathlib import Path
from typing import Literal, TypeAlias

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
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableError

from dataflows.errors import EddyError
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
    sasl_password: SecretStr | None = None
    ssl_ca_location: Path | None = None
    ssl_certificate_location: Path | None = None
    ssl_key_location: Path | None = None
    ssl_key_password: SecretStr | None = None
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


class RecoverySettings(Section):
    """Where state survives a crash."""

    folder: Path | None = None
    """The recovery store's folder, one sub-folder a flow; none: a crash starts from the log's beginning."""
    epoch_interval_s: int = Field(default=1, ge=0)
    """Seconds between snapshots of `recommend`."""
    learn_epoch_interval_s: int = Field(default=10, ge=0)
    """Seconds between snapshots of `learn`: it packs whole shards, and nobody waits for it."""
    partitions: int = Field(default=64, ge=1, le=4096)
    """Fixed when the store is made: a resume is quadratic in the keys of one partition."""


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
    port: int = Field(default=8080, ge=0, le=65535)
    """0 takes a free port."""
    enabled: bool = True


class EventSettings(Section):
    """What events mean."""

    weights: dict[str, float] = Field(
        default_factory=lambda: {
            "impression": 0.0, "view": 1.0, "click": 1.0, "dwell": 0.5, "like": 2.0, "share": 2.0,
            "rating": 1.0, "cart": 3.0, "purchase": 5.0, "dislike": -1.0,
        }
    )  # fmt: skip
    """Weight of each known event type; an event of any other type is a dead letter."""
    owning_types: frozenset[str] = frozenset({"purchase"})
    """Event types after which the user has the item."""
    triggers: frozenset[str] | None = None
    """Event types that make a slate; none: all but impressions."""
    segment_fields: tuple[str, ...] = ("device",)
    """Context fields whose values make the trending segments."""
    max_bytes: int = Field(default=65_536, ge=256)
    """A larger message is a dead letter."""
    max_future_s: int = Field(default=300, ge=0)
    """How far an event's time may lie beyond its record's own timestamp."""


class ProfileSettings(Section):
    """Windows and interest profiles."""

    session_gap_s: int = Field(default=1_800, ge=1)
    lateness_s: int = Field(default=600, ge=0)
    """Allowed lateness: an event older than its user's newest by more than this is a dead letter."""
    half_life_moment_s: int = Field(default=1_800, ge=1)
    half_life_habit_s: int = Field(default=14 * 86_400, ge=1)
    expire_after_s: int = Field(default=90 * 86_400, ge=60)
    """A user idle for longer is forgotten."""
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
    half_life_long_s: int = Field(default=14 * 86_400, ge=1)
    min_users: int = Field(default=1, ge=1)
    """An item trends only once so many distinct users have acted on it."""


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

    kafka: KafkaSettings = KafkaSettings()
    topics: TopicSettings = TopicSettings()
    recovery: RecoverySettings = RecoverySettings()
    cluster: ClusterSettings = ClusterSettings()
    http: HttpSettings = HttpSettings()
    events: EventSettings = EventSettings()
    profile: ProfileSettings = ProfileSettings()
    learn: LearnSettings = LearnSettings()
    strategy: Strategy = Strategy()
    """How slates are made for users in no experiment."""
    experiments_file: Path | None = None
    """YAML or JSON file of experiments."""
    checkpoint: Path | None = None
    """Checkpoint of the ranker `mlp`; none: the one that comes with this release."""
    threads: int = Field(default=0, ge=0, le=64)
    """Threads that answer a large batch together; 0: one a core, at most 4."""
    delivery: Literal["transactional", "idempotent"] = "transactional"
    """`transactional` fences a second copy of a flow; `idempotent` saves some milliseconds and does not."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def n_threads(self) -> int:
        """Threads that answer a large batch together."""
        return self.threads or min(os.cpu_count() or 1, 4)

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
