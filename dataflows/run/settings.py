"""All settings, frozen. Only `load` reads the environment; everything else is given what it needs."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin, get_type_hints

from msgspec import Meta
from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableError

from dataflows.errors import EddyError
from dataflows.run.conversion import convert_text, name_of
from dataflows.run.infrastructure import (
    ClusterSettings,
    HttpSettings,
    KafkaSettings,
    PrivacySettings,
    RecoverySettings,
    ServeSettings,
    TopicSettings,
)
from dataflows.run.presets import PresetName, PresetSource
from models.config import AttributionConfig, Count, ItemSideConfig, OnlineConfig, OutcomeConfig, ProfileConfig
from models.events import EventConfig
from models.experiments.assign.declaration import DeclarationError
from models.names import FUNNEL, LanguageName, LearnerName, MetricName, RankerName, StageName
from models.strategy import Strategy


class SettingsError(EddyError):
    """A setting is wrong; the text says which, why, and how to fix it."""


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
    experiments_file: Path | None = None
    """YAML or JSON file of experiments."""
    checkpoint: Path | None = None
    """Checkpoint of a trained ranker, to serve and to go on from; none: the `mlp` that comes with this release."""
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
    def learns_from_slates(self) -> bool:
        """Whether `learn` reads slates: for a ranker, or for the funnel."""
        return self.ranker.name != "none" or self.funnel.learn

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
            variable = variable_of(section, name)
            if name not in kinds:
                wrong.append(_unknown(variable))
                continue
            try:
                values[name] = convert_text(value, kinds[name])
            except DeclarationError as error:
                wrong.append(f"{variable}: {name_of(error.path)}{error}")
        if wrong:
            raise _SectionError("; ".join(wrong))
        try:
            return kind(**values)
        except ValueError as error:
            raise _SectionError(f"{variable_of(section)}: {error}") from None


class _SectionError(ValueError):
    """What is wrong with a section; the text names each variable."""


def variable_of(*names: str) -> str:
    """Name the variable of a setting: of its section, where it is in one, and its own name."""
    return f"EDDY_{'__'.join(names)}".upper()


def variables() -> Iterator[str]:
    """Name every variable of the environment that is a setting."""
    for name, field in Settings.model_fields.items():
        kind: Any = field.annotation
        if is_dataclass(kind):
            yield from (variable_of(name, part.name) for part in fields(kind))
        elif hasattr(kind, "model_fields"):
            yield from (variable_of(name, part) for part in kind.model_fields)
        else:
            yield variable_of(name)


def load(**overrides: object) -> Settings:
    """Read settings from the environment; the one place that does.

    Raises
    ------
    SettingsError : a value is wrong or an `EDDY_` variable is unknown; the text names the variable.
    """
    try:
        settings = Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        raise SettingsError("; ".join(map(_describe, error.errors()))) from None
    except UnreadableError as error:
        raise SettingsError(_no_json(str(error))) from None
    known = {variable_of(name) for name in Settings.model_fields}
    unknown = [name for name in os.environ if name.startswith("EDDY_") and name.partition("__")[0] not in known]
    if unknown:
        raise SettingsError("; ".join(map(_unknown, sorted(unknown))))
    return settings


def _no_json(error: str) -> str:
    """Name the variables of a section that are no JSON where it takes nothing else; a value may be a secret."""
    name = error.partition('field "')[2].partition('"')[0]
    section, kind = variable_of(name), Settings.model_fields[name].annotation
    if section in os.environ:
        return (
            f"{section} is a section: set what is in it one by one, as {section}__NAME, or all of it as a JSON object"
        )
    wrong = [
        variable_of(name, part)
        for part, field in getattr(kind, "model_fields", {}).items()
        if get_origin(field.annotation) in (dict, list) and not _is_json(os.environ.get(variable_of(name, part), "0"))
    ]
    example = """'{"client.rack": "a"}' or '["a", "b"]'"""
    return f"{', '.join(wrong) or section}: this is no JSON; give it as in {example}"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _describe(problem: ErrorDetails) -> str:
    if isinstance(error := problem.get("ctx", {}).get("error"), _SectionError):
        return str(error)
    variable = variable_of(*map(str, problem["loc"]))
    return _unknown(variable) if problem["type"] == "extra_forbidden" else f"{variable}: {problem['msg']}"


def _unknown(variable: str) -> str:
    close = get_close_matches(variable, variables(), n=1, cutoff=0.8)
    remedy = f"did you mean {close[0]}?" if close else "see `eddy doctor --settings` for all names"
    return f"unknown setting {variable}: {remedy}"
