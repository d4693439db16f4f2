"""Compile the kernels of the flows once, before many processes run that would each do so: `python -m tests.kernels`."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from rich.console import Console

from models.counts import item_statistics, pairs, trending
from models.items import ItemTable
from models.items import warm_up as items
from models.serving.recommender import Recommender
from models.user import warm_up as user


def of_slates() -> None:
    """Three quarters of them."""
    Recommender(ItemTable(0)).warm_up()


def of_state() -> None:
    """All others."""
    for kernels in (items, user, pairs, item_statistics, trending):
        kernels.warm_up()


PARTS: tuple[Callable[[], None], ...] = (of_slates, of_state)


def main() -> None:
    """Run each part in a process of its own."""
    with (
        Console(stderr=True).status("compiling the kernels, or finding that they are: a minute or two"),
        ProcessPoolExecutor(len(PARTS), get_context("spawn")) as processes,
    ):
        for part in [processes.submit(part) for part in PARTS]:
            part.result()


if __name__ == "__main__":
    main()
