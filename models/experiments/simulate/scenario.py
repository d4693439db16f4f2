"""Kinds of experiments that are simulated, each with the declaration by which it is judged."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias, get_args

from models.experiments.assign.declaration import Analysis, Experiment, Rules, TrafficBounds, Variant
from models.names import MetricName
from models.strategy import Strategy

ScenarioName: TypeAlias = Literal["drift", "bandit", "stop", "mature", "ratio", "guardrail"]
SCENARIOS: tuple[ScenarioName, ...] = get_args(ScenarioName)
LOOK_MS = 3_600_000
"""Event time from one look to the next."""
MATURING = 20
"""Looks over which conversions come in the scenario `mature`."""
DRIFT = 0.6
"""How much the base rate has risen at the last user, where it moves."""
MARGINS: dict[MetricName, float] = {"latency_ms": 0.05, "retention": -0.05}


@dataclass(frozen=True)
class Scenario:
    """A kind of experiment.

    `drift`, `bandit` and `ratio` move the traffic by Thompson sampling, the first and the last while the base rate
    rises by 60%; `stop`, `mature` and `guardrail` stop. `ratio` judges clicks of impressions of users who differ, the
    others conversions; those of `mature` come over 20 looks.

    Raises
    ------
    ValueError : a number that no experiment can have.
    """

    name: ScenarioName
    variants: int = 2
    users: int = 400_000
    looks: int = 40
    """While users come; in `mature`, looks go on until the last is judged."""
    rate: float = 0.05
    """The control's base rate at first."""
    lift: float = 0.0
    """True lift of the last variant's goal; the others equal the control."""
    harm: float = 0.0
    """True change of the guardrails in the last variant, in shares of their margins: 1 is at the margins."""
    cuped: bool = True
    """Whether users have a past."""
    alpha: float = 0.05

    def __post_init__(self) -> None:
        if not 2 <= self.variants <= 20:
            raise ValueError("an experiment has 2 variants or more, a simulated one 20 at most")
        if not 1 <= self.looks <= self.users:
            raise ValueError("an experiment has one look or more, and no more looks than users")
        if not (self.rate > 0 and self.rate * (1 + self.lift) > 0 and self.rate * (1 + DRIFT) * (1 + self.lift) < 1):
            raise ValueError("all rates, also the lifted one once it has risen, lie between 0 and 1")
        Rules(alpha=self.alpha)

    @cached_property
    def experiment(self) -> Experiment:
        """The declaration that is judged."""
        analysis: dict[str, Any] = {"goal": "ctr" if self.name == "ratio" else "conversion", "age_s": 0}
        if self.name in ("stop", "mature", "guardrail"):
            analysis["stop"] = True
        else:
            # As many variants as you like can have a tenth of their fair share.
            analysis["bandit"] = TrafficBounds(0.2 / self.variants, 0.9)
        if self.name == "mature":
            analysis["age_s"] = MATURING * LOOK_MS // 1_000
        if self.name == "guardrail":
            analysis["guardrails"] = MARGINS
        names = ["control", *(f"treatment-{v}" for v in range(1, self.variants))]
        return Experiment(
            self.name,
            tuple(Variant(name, 1.0, Strategy()) for name in names),
            analysis=Analysis(rules=Rules(alpha=self.alpha), **analysis),
        )

    @property
    def drifts(self) -> bool:
        """Whether the base rate moves."""
        return self.name in ("drift", "ratio")
