"""What a read model is given in tests, as the door's keeper would."""

from collections.abc import Iterable

import orjson

from dataflows.serve.read_models.contract import ReadModel, TopicPart, TopicRow


def an_item(item_id: str, title: str) -> bytes:
    return orjson.dumps({"item_id": item_id, "title": title})


def keep_slates(model: ReadModel, *slates: tuple[str, bytes | None], first: int = 0, partition: int = 0) -> None:
    """Keep slates as the records from `first` on; by default they are those that come next."""
    first = first or model.resume("slates", "recommendations", None).get(partition, 0)
    rows = [TopicRow(first + n, user_id, value) for n, (user_id, value) in enumerate(slates)]
    model.keep([TopicPart("slates", "recommendations", partition, rows, first + len(rows))])


def keep_items(model: ReadModel, *items: tuple[str, str | None]) -> None:
    """Keep items by id and title, as the next records; without a title an item goes."""
    first = model.resume("items", "catalog", None).get(0, 0)
    rows = [
        TopicRow(first + n, item_id, None if title is None else an_item(item_id, title), title or "")
        for n, (item_id, title) in enumerate(items)
    ]
    model.keep([TopicPart("items", "catalog", 0, rows, first + len(rows))])


def found(model: ReadModel, text: str, n: int = 10) -> list[str]:
    return ids_of(model.search(text, n))


def ids_of(values: Iterable[bytes]) -> list[str]:
    return [orjson.loads(value)["item_id"] for value in values]
