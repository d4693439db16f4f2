"""Compile all kernels of a user's record before the first message."""

from models.config import ProfileConfig
from models.events import EventConfig
from models.items import ItemTable
from models.messages import Event, Item
from models.user.state import UserState


def warm_up() -> None:
    """Compile, or load from the cache, so that no event waits: seconds the first time, then hundredths."""
    table = ItemTable(0, capacity=1)
    table.apply_items([Item(item_id, categories=[item_id], price=1.0) for item_id in ("warm", "up")], [])
    user = UserState(ProfileConfig(), EventConfig())
    for at, (item_id, event_type) in enumerate((("up", "impression"), ("warm", "click"), ("up", "dislike")), start=1):
        user.apply(Event(f"warm-up-{at}", "warm-up", item_id, event_type, at), table)
