"""A slate as the door gives it: what a consumer needs, without what only learning needs."""

import msgspec
from msgspec import UNSET, UnsetType

from models.messages import Item
from models.names import DEFAULT_PLACEMENT


class ServedItem(msgspec.Struct):
    """One recommended item."""

    item_id: str
    position: int
    score: float
    source: str
    reason: str
    """In words, in the installation's language."""
    propensity: float
    reason_code: str | UnsetType = UNSET
    """The reason for programs, which may have words of their own for it."""
    reason_about: str | None = None
    """The item's id, or the attribute's value, that the reason names; null where it names none."""
    p_click: float | UnsetType = UNSET
    """How probable it is that the item is clicked where it stands; left out where nobody learns that, as below."""
    p_cart: float | UnsetType = UNSET
    p_purchase: float | UnsetType = UNSET
    rule: str | None = None
    """The rule that placed the item, or moved it furthest; null where none acted on it."""
    item: Item | None = None
    """The catalog's entry, where it was asked for and there is one."""


class ServedSlate(msgspec.Struct):
    """A user's slate."""

    recommendation_id: str
    user_id: str
    created_at: int
    trigger: str
    trigger_id: str
    experiment: str | None
    variant: str | None
    model_version: str
    items: list[ServedItem]
    placement: str = DEFAULT_PLACEMENT
    """Where it is to be shown."""


class Answer(msgspec.Struct):
    """What a request is answered with."""

    slate: ServedSlate
    fallback: str | None = None
    """None: the slate was made for this request. `newest`: it did not come in time, this is the user's newest one, of
    the same placement. `trending`: the user's newest is of another, or there is none yet; this is what trends."""


class Head(msgspec.Struct):
    """What the door has to know of a slate to hand it on."""

    trigger_id: str


_decode = msgspec.json.Decoder(ServedSlate).decode
head_of = msgspec.json.Decoder(Head).decode
"""Raises `msgspec.DecodeError` for what is no slate."""


def served(value: bytes) -> ServedSlate:
    """Read a slate without its features, which are skipped, not decoded.

    Raises
    ------
    msgspec.DecodeError : it is no slate.
    """
    return _decode(value)
