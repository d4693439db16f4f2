"""What was learned, as rows of `model-updates`: the key and the packed bytes of each."""

import numpy as np

from models.counts.content_rows import ContentRow
from models.counts.item_statistics import ItemRow
from models.counts.newest_sessions import SessionRow
from models.counts.trends import TrendingRow
from models.items.rows import pack_content, pack_neighbours, pack_session, pack_trending


def neighbours_key(item_id: str) -> str:
    """Name an item's row of neighbours."""
    return f"neighbours/{item_id}"


def trending_key(segment: str, shard: int) -> str:
    """Name what trends in a segment among one shard's items."""
    return f"trending/{segment}/{shard}"


def session_key(number: int) -> str:
    """Name the row of a session."""
    return f"sessions/{number}"


def content_key(item_id: str) -> str:
    """Name an item's row of content."""
    return f"content/{item_id}"


def packed_neighbours(row: ItemRow) -> tuple[str, bytes]:
    """Pack what was learned of an item."""
    return neighbours_key(row.item_id), pack_neighbours(
        row.item_id,
        version=row.version,
        learned_until=row.reference_at,
        reference_at=row.reference_at,
        first_seen_at=row.first_seen_at,
        popularity=row.popularity,
        neighbours=row.neighbours,
        rule_weights=row.rules,
        covisit_weights=row.covisits,
    )


def packed_trending(row: TrendingRow, shard: int) -> tuple[str, bytes]:
    """Pack what trends in a segment among one shard's items."""
    return trending_key(row.segment, shard), pack_trending(
        row.segment,
        shard=shard,
        version=row.version,
        learned_until=row.reference_at,
        reference_at=row.reference_at,
        items=row.items,
        weights=row.weights,
    )


def packed_session(row: SessionRow) -> tuple[str, bytes]:
    """Pack a session."""
    return session_key(row.number), pack_session(
        row.number, version=row.version, last_at=row.last_at, user=row.user, items=np.array(row.items, np.int64)
    )


def packed_content(item_id: str, row: ContentRow) -> tuple[str, bytes]:
    """Pack an item's content."""
    return content_key(item_id), pack_content(item_id, row.version, row.vector)
