import subprocess
import sys

from tests import places

COMPILED_LATE = """
import gc, sys
import tests
tests.__path__ = [sys.argv[1]]
from numba.core.dispatcher import Dispatcher
from models.items import ItemTable
from models.items.warm_up import warm_up
from models.config import ProfileConfig
from models.events import EventConfig
from models.messages import Event, Item
from models.serving.recommender import Recommender
from models.user.state import UserState
from models.user.warm_up import warm_up as warm_up_user
from tests.models.items.builders import NOW, DAY_MS, a_row, a_trend
from tests.models.builders import a_query

def compiled():
    kernels = [d for d in gc.get_objects() if isinstance(d, Dispatcher)]
    return {f"{d.py_func.__module__}.{d.py_func.__qualname__}": len(d.signatures) for d in kernels}

def serve(table):
    names = [f"i-{n}" for n in range(40)]
    for day in (0, 1, 1_000):
        rows = [a_row(name, 1 + day, (names[0],), at=NOW + day * DAY_MS) for name in names]
        table.apply_rows([f"neighbours/{name}".encode() for name in names], rows)
        table.apply_items([Item(name, title="A lantern", categories=["Drama"], price=9.0) for name in names], names[:2])
        others = [b"neighbours/i-5", b"content/i-6", b"trending/all/0"]
        table.apply_rows(others, [None, None, a_trend("all", {"i-7": 1.0})])
        table.apply_items([Item(f"{n}", available=False) for n in range(table.capacity)], [])
        table.apply_items([], [f"{n}" for n in range(table.capacity // 2)])
        table.apply_items([], [])
        yield table

warm_up()
before_rows = compiled()
[table, *_] = serve(ItemTable(NOW))
print([name for name, n in compiled().items() if n != before_rows.get(name)])
Recommender(ItemTable(NOW)).warm_up()
before_search = compiled()
Recommender(table).recommend([a_query(["i-3"]), a_query(query="lantern"), a_query(candidates=["i-4"])])
print([name for name, n in compiled().items() if n != before_search.get(name)])
warm_up_user()
before_event = compiled()
user = UserState(ProfileConfig(), EventConfig())
for n, kind in enumerate(("view", "impression", "purchase", "dislike", "click")):
    user.apply(Event(f"e-{n}", "u", f"i-{n + 2}", kind, NOW + n), table)
print([name for name, n in compiled().items() if n != before_event.get(name)])
"""


def test_after_warming_up_no_first_row_search_or_event_compiles_anything():
    root = places.ROOT
    command = [sys.executable, "-c", COMPILED_LATE, str(root / "tests")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.stdout.split("\n") == ["[]", "[]", "[]", ""], result.stderr
