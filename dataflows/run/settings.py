"""All settings, frozen. Only `load` reads the environment; everything else is given what it needs."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_type_hints

import msgspec
from msgspec import Meta
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableError

from dataflows.errors import EddyError
from dataflows.run.conversion import check, name_of
from dataflows.run.preset_source import PresetSource
from dataflows.run.presets import PresetName
from models.config import AttributionConfig, Count, ItemSideConfig, OnlineConfig, OutcomeConfig, ProfileConfig
from models.events import EventConfig
from models.experiments.assign.declaration import DeclarationError
from models.names import LearnerName, MetricName
from models.strategy import Strategy

Option: TypeAlias = str | int | float | bool


class SettingsError(EddyError):
    """A setting is wrong; the text says which, why, and how to fix it."""


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


@dataclass(frozen=True, slots=True)
class EventSettings(EventConfig):
    """What events mean, and which messages are read at all."""

    max_bytes: Annotated[int, Meta(ge=256)] = 65_536
    """A larger message is a dead letter."""
    max_future_s: Annotated[int, Meta(ge=0)] = 300
    """How far an event's time may lie beyond its record's own timestamp."""


@dataclass(frozen=True)
class LearnSettings(ItemSideConfig):
    """How the item tables are learned, and how rows are published."""

    publish_every_s: Annotated[float, Meta(gt=0)] = 1.0
    """Seconds for which changes of a row are coalesced."""
    max_rows_per_publish: Count = 2_000
    """Rows that a shard publishes at a time."""
    text: Literal["hashed", "minilm"] = "hashed"
    """What makes vectors of item texts and searches: hashed words, or the sentence encoder of the extra `text`. All
    flows need the same; once it is changed, start `learn` on a new recovery store, since an item's vector is made when
    its entry is read."""


@dataclass(frozen=True)
class EvaluateSettings(OutcomeConfig):
    """How outcomes are counted, and how the flow reads and publishes."""

    goal: MetricName = "ctr"
    """The metric that decides an experiment whose declaration names none."""
    alignment_s: Annotated[int, Meta(ge=0)] = 60
    """How far, in event time, one topic may be read ahead of the others."""
    publish_every_s: Annotated[float, Meta(gt=0)] = 10.0
    """Seconds for which changes of an experiment are gathered."""
    max_slate_bytes: Annotated[int, Meta(ge=1_024)] = 1_000_000
    """A larger slate or assignment is not read."""


@dataclass(frozen=True)
class RankerSettings(OnlineConfig):
    """The ranker that `learn` trains on feedback."""

    name: Literal["none", LearnerName] = "none"
    """Which one learns; strategies ask for it by the same name. `none`: nothing is attributed and nothing learned."""
    per_arm: bool = False
    """Train one for each variant on its own slates, instead of one on all: an arm's ranker then knows nothing that
    another arm showed, which keeps a test clean and makes both learn slower."""


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
    profile: ProfileConfig = ProfileConfig()
    learn: LearnSettings = LearnSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    attribution: AttributionConfig = AttributionConfig()
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

    @field_validator("*", mode="before")
    @classmethod
    def _read_section(cls, given: object, info: ValidationInfo) -> object:
        """Make a section that is a type of the core's from what the environment and the preset say."""
        section = info.field_name or ""
        kind = cls.model_fields[section].annotation
        if not (isinstance(given, dict) and is_dataclass(kind)):
            return given
        kinds, values, wrong = get_type_hints(kind, include_extras=True), {}, []
        for name, value in given.items():
            variable = _variable(section, name)
            if name not in kinds:
                wrong.append(_unknown(variable))
                continue
            try:
                values[name] = _converted(value, kinds[name])
            except DeclarationError as error:
                wrong.append(f"{variable}: {name_of(error.path)}{error}")
        if wrong:
            raise _SectionError("; ".join(wrong))
        try:
            return kind(**values)
        except ValueError as error:
            raise _SectionError(f"{_variable(section)}: {error}") from None


class _SectionError(ValueError):
    """What is wrong with a section; the text names each variable."""


def _converted(value: object, kind: Any) -> object:
    """Convert a value of the environment, which is text: JSON where the text itself is no such value.

    Raises
    ------
    DeclarationError : the value is wrong.
    """
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        if isinstance(value, str) and value.startswith(("{", "[")):
            try:
                value = msgspec.json.decode(value)
            except msgspec.DecodeError as error:
                raise DeclarationError(f"{error}: give it as JSON") from None
        check(value, kind, strict=False)
        return msgspec.convert(value, kind, strict=False)


def _variable(*names: str) -> str:
    """Name the variable of a setting: of its section, where it is in one, and its own name."""
    return f"EDDY_{'__'.join(names)}".upper()


def variables() -> Iterator[str]:
    """Name every variable of the environment that is a setting."""
    for name, field in Settings.model_fields.items():
        kind: Any = field.annotation
        if is_dataclass(kind):
            yield from (_variable(name, part.name) for part in fields(kind))
        elif hasattr(kind, "model_fields"):
            yield from (_variable(name, part) for part in kind.model_fields)
        else:
            yield _variable(name)


def load(**overrides: object) -> Settings:
    """Read settings from the environment; the one place that does.

    Raises
    ------
    SettingsError : a value is wrong or an `EDDY_` variable is unknown; the text names the variable.
    """
    try:
        settings = Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        raise SettingsError("; ".join(map(_told, error.errors()))) from None
    except UnreadableError as error:
        # The value stays out of the text, since it may be a secret.
        raise SettingsError(f'{error}: give it as JSON, as in EDDY_KAFKA__OPTIONS=\'{{"client.rack": "a"}}\'') from None
    known = {_variable(name) for name in Settings.model_fields}
    unknown = [name for name in os.environ if name.startswith("EDDY_") and name.partition("__")[0] not in known]
    if unknown:
        raise SettingsError("; ".join(map(_unknown, sorted(unknown))))
    return settings


def _told(problem: ErrorDetails) -> str:
    if isinstance(error := problem.get("ctx", {}).get("error"), _SectionError):
        return str(error)
    variable = _variable(*map(str, problem["loc"]))
    return _unknown(variable) if problem["type"] == "extra_forbidden" else f"{variable}: {problem['msg']}"


def _unknown(variable: str) -> str:
    close = get_close_matches(variable, variables(), n=1, cutoff=0.8)
    remedy = f"did you mean {close[0]}?" if close else "see `eddy doctor --settings` for all names"
    return f"unknown setting {variable}: {remedy}"
