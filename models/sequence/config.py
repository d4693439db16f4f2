"""How a sequence model is shaped, and how it is trained."""

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

Positive = Annotated[int, Meta(ge=1)]


@dataclass(frozen=True, slots=True)
class SequenceConfig:
    """The shape of the network; a checkpoint carries it."""

    n_dimensions: Annotated[int, Meta(ge=1, le=1_024)] = 64
    """D, of an item's vector and of a user's."""
    n_blocks: Annotated[int, Meta(ge=1, le=16)] = 1
    n_heads: Annotated[int, Meta(ge=1, le=16)] = 1
    n_recent: Annotated[int, Meta(ge=1, le=32)] = 32
    """Newest acts that are read; a profile keeps 32."""
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.2


@dataclass(frozen=True, slots=True)
class SequenceTraining:
    """How the network is trained."""

    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    batch_size: Positive = 128
    """Windows of acts a step."""
    n_negatives: Positive = 1_024
    """Items drawn a step, all users' alternatives to what they went on to."""
    max_epochs: Positive = 60
    patience: Positive = 4
    """Epochs without a better validation before it stops."""
    most_judged: Positive = 5_000
    """Users whose next act validates after each epoch, at most, drawn at random."""
    n_threads: Positive = 1
    """Of PyTorch, while it trains."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class OnlineSequenceConfig:
    """How a sequence model goes on learning on the stream."""

    learning_rate: Annotated[float, Meta(gt=0)] = 1e-3
    batch_size: Positive = 32
    """Acts a step."""
    n_negatives: Positive = 1_024
    """Items drawn a step."""
    max_users: Positive = 1_000_000
    """Users whose newest acts are kept, those who acted last; 700 bytes each."""
    max_items: Positive = 200_000
    """Items that have a vector of their own; those beyond have that of their attributes and texts."""
    n_warm_up: Positive = 100
    """Steps in which the learning rate rises to what is set: AdamW begins anew with each process."""
    max_lost: Positive = 3
    """Decisions that it may lose in a row before it begins anew from the model in service."""
    min_judged: Positive = 512
    min_users: Positive = 10
    """Acts, and users whose they were, below which nobody knows which of two models is better."""
