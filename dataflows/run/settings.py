"""All settings, frozen. Only `load` reads the environment and the file; all else is given what it needs."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from msgspec import Meta
from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableError

from dataflows.run.conversion import SectionError, convert_section
from dataflows.run.experiments_file import experiments_of
from dataflows.run.infrastructure import (
    ClusterSettings,
    HttpSettings,
    KafkaSettings,
    PrivacySettings,
    RecoverySettings,
    ServeSettings,
    TopicSettings,
)
from dataflows.run.layers import FileLayer, PresetLayer, config_file
from dataflows.run.placements import placements_of
from dataflows.run.presets import PresetName
from dataflows.run.setting_errors import (
    SettingsError,
    faults_of,
    tell,
    tell_no_json,
    unknown_variable,
    variable_of,
    variables_of,
)
from dataflows.run.yaml_file import YamlError
from models.config import AttributionConfig, Count, ItemSideConfig, OnlineConfig, OutcomeConfig, ProfileConfig
from models.events import EventConfig
from models.experiments.assign.declaration import DeclarationError, Experiment
from models.names import FUNNEL, LanguageName, LearnerName, MetricName, RankerName, StageName
from models.placements import Placement
from models.strategy import Strategy


@dataclass(frozen=True, slots=True)
class EventSettings(EventConfig):
    """What events mean, and which messages are read at all."""

    max_bytes: Annotated[int, Meta(ge=256)] = 65_536
    """A larger message is a dead letter."""
    max_future_s: Annotated[int, Meta(ge=0)] = 300
    """How far a message's time may lie beyond its record's own, and beyond the clock of who reads it."""
    keys: Literal["user_id", "any"] = "user_id"
    """What keys the platform's messages about users have on Kafka: one under another key than its `user_id` is a dead
    letter. `any`: keys of another kind, such as an account's, that keep each user's messages in one partition."""


@dataclass(frozen=True)
class LearnSettings(ItemSideConfig):
    """How the item tables are learned, and how rows are published."""

    publish_every_s: Annotated[float, Meta(gt=0)] = 1.0
    """Seconds for which changes of a row are coalesced."""
    max_rows_per_publish: Count = 2_000
    """Rows that a shard publishes at a time."""
    graduates_after: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """Impressions after which a cold item has had its chance, and is an item like any other (`cold_share` of a strategy
    needs it); 0: nobody counts. EDDY_ATTRIBUTION__IMPRESSIONS says what an impression is. `learn` keeps some 150 bytes
    for each item that was shown, of EDDY_LEARN__MAX_ITEMS at most."""
    text: Literal["hashed", "minilm"] = "hashed"
    """What makes vectors of item texts and searches: hashed words, or the sentence encoder all-MiniLM-L6-v2 (extra
    `text`). All flows need the same; once it is changed, start `learn` on a new recovery store, since an item's vector
    is made when its entry is read."""
    text_model: Path | None = None
    """The encoder's folder, as its publisher gives it out, for `minilm`; Eddy brings no model."""


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


@dataclass(frozen=True)
class FunnelSettings:
    """How probable a click, a cart and a purchase are: learned by `learn`, written on slates by `recommend`."""

    learn: bool = False
    """Whether `learn` learns that: `recommend` then writes `p_click`, `p_cart` and `p_purchase` on each item, and
    strategies may rank by what an item is worth (`funnel`)."""
    cart_types: frozenset[str] = frozenset({"cart"})
    """Event types that put an item aside to have it. A purchase is what EDDY_EVENTS__OWNING_TYPES names, a click any
    event of a weight above 0."""
    learning_rate: Annotated[float, Meta(gt=0)] = 3e-3
    publish_every: Annotated[int, Meta(ge=1)] = 8
    """Steps, of 32 slates, from one decision about a new version to the next."""

    def stage_of(self, events: EventConfig) -> dict[str, StageName]:
        """Name the stage that each event type stands for."""
        wanted = [event_type for event_type, weight in events.weights.items() if weight > 0]
        return {
            event_type: "purchase"
            if event_type in events.owning_types
            else "cart"
            if event_type in self.cart_types
            else "click"
            for event_type in wanted
        }


class Settings(BaseSettings):
    """Everything that can be set: in `eddy.yaml`, or by `EDDY_<SECTION>__<NAME>` in the environment, which wins.

    A variable that is empty is not set.
    """

    model_config = SettingsConfigDict(
        env_prefix="EDDY_",
        env_nested_delimiter="__",
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
    )

    config: Path | None = None
    """YAML file of settings, for all that the environment does not say; none: `eddy.yaml` in the working folder, where
    that is there. `eddy schema --settings` writes its schema, for editors."""
    preset: PresetName | None = None
    """Settings for a field of use, for all that is set nowhere else: `session-shop`, `shop`, `video`, `articles`,
    `social`, `ads`, `replies`, `care`, `courses` or `city`. `eddy doctor --settings --preset NAME` lists its
    values."""
    kafka: KafkaSettings = KafkaSettings()
    topics: TopicSettings = TopicSettings()
    recovery: RecoverySettings = RecoverySettings()
    cluster: ClusterSettings = ClusterSettings()
    http: HttpSettings = HttpSettings()
    privacy: PrivacySettings = PrivacySettings()
    serve: ServeSettings = ServeSettings()
    events: EventSettings = EventSettings()
    profile: ProfileConfig = ProfileConfig()
    learn: LearnSettings = LearnSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    attribution: AttributionConfig = AttributionConfig()
    ranker: RankerSettings = RankerSettings()
    funnel: FunnelSettings = FunnelSettings()
    strategy: Strategy = Strategy()
    """How slates are made for users in no experiment."""
    placements: dict[str, Placement] = Field(default_factory=dict)
    """Where slates are shown, by name: each with its own strategy, over `strategy`, and the events that trigger it. A
    request that names another is a dead letter."""
    experiments: tuple[Experiment, ...] = ()
    """Experiments, where they are declared here and not in a file of their own."""
    experiments_file: Path | None = None
    """YAML or JSON file of experiments."""
    checkpoint: Path | None = None
    """Checkpoint of a trained ranker, to serve and to go on from; none: the `mlp` that comes with this release."""
    sequence_model: Path | None = None
    """Checkpoint of a sequence model (`eddy train --model sequence`), by which the source `sequence` proposes items
    until one is published (`eddy models publish`); none: that source proposes nothing until then."""
    language: LanguageName = "en"
    """Of the reasons on slates."""
    phrases: Path | None = None
    """File of one's own words for them, in the form of `models/languages/en.json`, in place of the language."""
    log_features: Literal["auto", "always", "never"] = "auto"
    """Whether slates carry what a ranker looks at of each item, some 130 bytes each. `auto`: where `learn` learns from
    slates, by EDDY_RANKER__NAME or EDDY_FUNNEL__LEARN, of which `recommend` has to know."""
    threads: int = Field(default=0, ge=0, le=64)
    """Threads that answer a large batch together; 0: one a core, at most 4."""
    delivery: Literal["transactional", "idempotent"] = "transactional"
    """`transactional` fences a second copy of a flow; `idempotent` saves some milliseconds and does not."""
    watchdog_s: float = Field(default=300.0, ge=0)
    """A flow that has stood still for so many seconds ends, to be started again; 0 lets it stand."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "text"
    """`json`: what `eddy run` and `eddy serve` log is one object a line; the Kafka client's own warnings are not."""

    @property
    def has_experiments(self) -> bool:
        """Whether experiments are declared, here or in a file."""
        return bool(self.experiments) or self.experiments_file is not None

    @property
    def learns_from_slates(self) -> bool:
        """Whether `learn` reads slates: for a ranker, or for the funnel."""
        return self.ranker.name != "none" or self.funnel.learn

    @property
    def counts_slates(self) -> bool:
        """Whether `learn` takes what is on slates for shown, so that items graduate by it."""
        return self.learn.graduates_after > 0 and self.attribution.impressions == "slate"

    @property
    def logs_features(self) -> bool:
        """Whether slates carry what a ranker looks at of each item."""
        return self.log_features == "always" or (self.log_features == "auto" and self.learns_from_slates)

    @property
    def learned_rankers(self) -> list[RankerName]:
        """What `learn` publishes versions of: until one has come, the blend serves in its place."""
        learned: list[RankerName] = [] if self.ranker.name == "none" else [self.ranker.name]
        return [*learned, FUNNEL] if self.funnel.learn else learned

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
        """Ask the environment, then the file, then the preset."""
        return init_settings, env_settings, FileLayer(settings_cls), PresetLayer(settings_cls)

    @field_validator("*", mode="before")
    @classmethod
    def _read_section(cls, given: object, info: ValidationInfo) -> object:
        """Make a section that is a type of the core's from what the environment, the file and the preset say."""
        section = info.field_name or ""
        kind = cls.model_fields[section].annotation
        return convert_section(section, kind, given) if isinstance(given, dict) and is_dataclass(kind) else given

    @field_validator("placements", "experiments", mode="before")
    @classmethod
    def _declare(cls, given: object, info: ValidationInfo) -> object:
        """Make placements and experiments of plain values; those that are made already are taken as they are."""
        name, read = info.field_name or "", info.data
        try:
            if name == "placements":
                return placements_of(given, read.get("strategy", Strategy()), read.get("events", EventSettings()))
            return experiments_of(given, read.get("evaluate", EvaluateSettings()).goal).declared
        except DeclarationError as error:
            raise SectionError([((name, *error.path), str(error))]) from None

    @model_validator(mode="after")
    def _declared_once(self) -> Self:
        if self.experiments and self.experiments_file is not None:
            text = "experiments are declared here, and experiments_file names others: keep one of them"
            raise SectionError([(("experiments",), text)])
        return self


def names() -> dict[str, list[str]]:
    """Name all settings, by their sections; nothing in one that stands alone."""
    return {name: _parts(field.annotation) for name, field in Settings.model_fields.items()}


def _parts(kind: Any) -> list[str]:
    return [part.name for part in fields(kind)] if is_dataclass(kind) else list(getattr(kind, "model_fields", ()))


def variables() -> Iterator[str]:
    """Name every variable of the environment that is a setting."""
    return variables_of(names())


def load(**overrides: object) -> Settings:
    """Read settings from the environment and the file; the one place that does.

    Parameters
    ----------
    overrides : what wins over both; None overrides nothing.

    Raises
    ------
    SettingsError : a value is wrong or a name is unknown; the text names the variable, or the file and its line.
    """
    try:
        settings = Settings(**{name: value for name, value in overrides.items() if value is not None})  # type: ignore[arg-type]
    except YamlError as error:
        raise SettingsError(str(error)) from None
    except ValidationError as error:
        file = config_file(os.environ.get(variable_of("config")))
        raise SettingsError("; ".join(tell(fault, names(), file) for fault in faults_of(error))) from None
    except UnreadableError as error:
        raise SettingsError(tell_no_json(str(error), Settings.model_fields)) from None
    known = {variable_of(name) for name in Settings.model_fields}
    unknown = [name for name in os.environ if name.startswith("EDDY_") and name.partition("__")[0] not in known]
    if unknown:
        raise SettingsError("; ".join(unknown_variable(name, names()) for name in sorted(unknown)))
    return settings
