"""From a past to a checkpoint: examples of its first part, weights, and what they are worth on the rest."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from models.messages import Event, Item, Request
from models.names import Loss
from models.numeric.metrics import Accuracy, ranks_of
from models.offline.fitting import LEAST_EXAMPLES, MAX_EXAMPLES, Gathered, refitted, validated
from models.offline.seen import LEARNED, sample_of
from models.offline.walk import Examples, Progress, WalkConfig, walk
from models.rankers.checkpoint import Checkpoint, save_checkpoint, weights_digest
from models.rankers.fit import Report, TrainConfig, losses_of
from models.rankers.network import Network
from models.rankers.served import BlendRanker, NetworkRanker


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """What to train on, and how."""

    walk: WalkConfig = field(default_factory=WalkConfig)
    fit: TrainConfig = field(default_factory=TrainConfig)
    train_share: float = 0.8
    """Of the time from the first event to the last; what lies behind it only judges."""
    max_examples: int = MAX_EXAMPLES
    """At most about so many are kept, drawn at random over the whole time; 18 KB each."""
    least_examples: int = LEAST_EXAMPLES
    """With fewer, nothing is trained."""


@dataclass(slots=True)
class Verdict:
    """What two rankers earned on the same slates of one strategy, all of them later than the examples."""

    blend: Accuracy = field(default_factory=Accuracy)
    learned: Accuracy = field(default_factory=Accuracy)
    n_losses: int = 0
    loss_sum: float = 0.0

    @property
    def loss(self) -> float:
        """The learned ranker's mean loss, on those slates whose candidates hold the answer."""
        return self.loss_sum / self.n_losses if self.n_losses else 0.0


@dataclass(frozen=True, slots=True)
class Training:
    """What a training came to."""

    checkpoint: Checkpoint
    n_examples: int
    valid_loss: float
    """The best epoch's, on the newest fifth of the examples, before it was trained on all."""
    verdicts: tuple[Verdict, ...]
    """One a strategy of the walk."""


def train(
    messages: Sequence[Event | Request],
    items: Sequence[Item],
    data_set: str,
    path: Path,
    config: TrainingConfig | None = None,
    progress: Progress | None = None,
    on_epoch: Report | None = None,
    start: Checkpoint | None = None,
) -> Training:
    """Train a ranker on the first part of a past, judge it on the rest, and save it with what it came from.

    The newest of the examples validate it first; then it is trained once more, on all of them. Where a sequence model
    proposes items, examples begin with the first slate after all that it has learned.

    Parameters
    ----------
    messages
        Events, and requests between them if they are known, in time order.
    items
        The catalog.
    data_set
        What the messages are; part of the checkpoint's version.
    path
        The file to write.
    progress
        Called while it walks through the messages; the fitting lies on the way.
    on_epoch
        Called after each epoch of the fitting with its number, the training and the validation loss.
    start
        A trained ranker to go on from.

    Returns
    -------
    The same for the same messages, items and configuration.

    Raises
    ------
    ValueError
        Where the first part makes too few examples, nobody did anything after it, or `start` is of another kind than
        the configured one.
    """
    config = config or TrainingConfig()
    until_at, from_at = until(messages, config.train_share), _first_example_at(config.walk)
    if from_at > until_at:
        raise ValueError(
            f"the sequence model has learned what happened until {_day(from_at)}, and a ranker learns from slates "
            f"after that and before {_day(until_at)}: train the sequence model on an older part, or leave it away"
        )
    n_slates = len(config.walk.strategies) * sum(message.timestamp <= until_at for message in messages)
    gathered = Gathered(config.max_examples / max(n_slates, 1), config.fit.seed)
    verdicts = tuple(Verdict() for _ in config.walk.strategies)
    model: Network | None = None
    ranker: NetworkRanker | None = None
    valid_loss = float("inf")
    for examples in walk(messages, items, config.walk, progress):
        later = examples.made_at > until_at
        if model is None or ranker is None:
            gathered.add(examples[(examples.made_at > from_at) & (examples.answered_at <= until_at)])
            if not later.any():
                continue
            examples_so_far = gathered.enough(config.least_examples)
            found = validated(examples_so_far, config.fit, on_epoch, start)
            valid_loss = found.loss
            model = refitted(examples_so_far, config.fit, found.n_epochs, start=start)
            ranker = NetworkRanker(model)
        _judge(model, ranker, examples[later], verdicts[examples.strategy], config.fit.loss)
    if model is None:
        raise ValueError("nobody did anything after the part to train on, so nothing could judge the ranker")
    learned = [m for m in messages if isinstance(m, Event) and m.timestamp <= until_at and config.walk.events.is_act(m)]
    provenance = {
        "data_set": data_set,
        "trained_from": _day(messages[0].timestamp),
        "trained_until": _day(until_at),
        "judged_until": _day(messages[-1].timestamp),
        "n_examples": gathered.n,
        LEARNED: sample_of(learned, start.provenance.get(LEARNED, ()) if start else ()),
        "seed": config.fit.seed,
        "started_from": start.version if start else None,
        "valid_loss": round(valid_loss, 4),
        "verdicts": [
            {"strategy": asdict(strategy)} | _figures(verdict, config.fit.kind)
            for strategy, verdict in zip(config.walk.strategies, verdicts, strict=True)
        ],
    }
    version = f"{data_set}-{weights_digest(model)[:8]}"
    checkpoint = save_checkpoint(model, path, version, provenance, config.fit.loss)
    return Training(checkpoint, gathered.n, valid_loss, verdicts)


def judge(
    checkpoint: Checkpoint,
    events: Sequence[Event],
    items: Sequence[Item],
    from_at: int,
    config: WalkConfig | None = None,
) -> tuple[Verdict, ...]:
    """Compare a trained ranker with the blend on the same slates of users' next acts, strategy by strategy.

    Parameters
    ----------
    events
        In time order; what lies before `from_at`, Unix ms, only fills tables and profiles.
    """
    config, ranker = config or WalkConfig(), NetworkRanker(checkpoint.model)
    verdicts = tuple(Verdict() for _ in config.strategies)
    for examples in walk(events, items, config):
        later = examples[examples.made_at >= from_at]
        _judge(checkpoint.model, ranker, later, verdicts[examples.strategy], checkpoint.loss)
    return verdicts


def until(messages: Sequence[Event | Request], share: float) -> int:
    """Return the moment at which a share of the time from the first message to the last has gone by, Unix ms."""
    first_at, last_at = messages[0].timestamp, messages[-1].timestamp
    return first_at + round((last_at - first_at) * share)


def _first_example_at(config: WalkConfig) -> int:
    """Say after which moment slates are examples, Unix ms: a sequence model has seen the answers before."""
    return config.encoder.learned_until if config.encoder is not None else -1


def _judge(model: Network, ranker: NetworkRanker, examples: Examples, verdict: Verdict, loss: Loss) -> None:
    for judged, by in ((verdict.blend, BlendRanker()), (verdict.learned, ranker)):
        judged.add(ranks_of(by.score(examples.inputs), examples.present, examples.label_index))
    found = examples[examples.answered]
    if found.n:
        verdict.n_losses += found.n
        verdict.loss_sum += float(losses_of(model, found.inputs, found.label_index, found.present, loss).sum())


def _figures(verdict: Verdict, kind: str) -> dict[str, Any]:
    def of(accuracy: Accuracy) -> dict[str, float]:
        return {
            "hr@10": round(accuracy.hit_rate, 4),
            "mrr": round(accuracy.mrr, 4),
            "ndcg@10": round(accuracy.ndcg, 4),
        }

    return {
        "n_judged": verdict.learned.n,
        "test_loss": round(verdict.loss, 4),
        "blend": of(verdict.blend),
        kind: of(verdict.learned),
    }


def _day(at: int) -> str:
    return datetime.fromtimestamp(at / 1_000, UTC).date().isoformat()
