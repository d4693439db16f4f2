"""The metrics that flows and the door export, from where the code declares them."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tables import code, table

DATAFLOWS = Path(__file__).parents[2] / "dataflows"


class DeclaredMetric(NamedTuple):
    """A metric as the code declares it."""

    name: str
    kind: str
    labels: tuple[str, ...]
    text: str


_KINDS = {
    "Histogram": "histogram", "_histogram": "histogram", "CounterMetricFamily": "counter", "Gauge": "gauge",
    "GaugeMetricFamily": "gauge", "_gauge": "gauge", "watch": "gauge", "watch_by": "gauge",
}  # fmt: skip
_OF_A_FLOW = ("_histogram", "_gauge", "watch", "watch_by")
"""Add the label `flow` by themselves."""


def metrics() -> str:
    """Write a table of the metrics that flows and the door export."""
    rows = [(f"`{one.name}`", one.kind, code(", ".join(one.labels)), one.text) for one in declared_metrics()]
    return (
        "# Metrics\n\nEach flow tells Prometheus on `EDDY_HTTP__PORT`, the door on its own port, at `/metrics`. "
        "Counters end in `_total`, histograms in `_bucket`, `_sum` and `_count`. The flows also tell of their "
        "processes (`process_*`, `python_info`). Which metric to look at when: [Operate](../operate.md#look-at-it).\n\n"
        f"{table(('metric', 'kind', 'labels', 'meaning'), rows)}"
    )


def declared_metrics() -> list[DeclaredMetric]:
    """Find where the code declares a metric: a call whose first argument is its name and whose second its meaning."""
    found = {
        one.name: one for path in sorted(DATAFLOWS.rglob("*.py")) for one in _metrics_in(ast.parse(path.read_text()))
    }
    return [found[name] for name in sorted(found)]


def _metrics_in(tree: ast.Module) -> Iterator[DeclaredMetric]:
    constants = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and len(node.args) > 1):
            continue
        caller = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        first, second, *rest = (constants.get(getattr(one, "id", ""), one) for one in node.args)
        name = _text_of(first)
        if caller in _KINDS and name.startswith("eddy_"):
            labels = [text for one in [*rest, *(word.value for word in node.keywords)] for text in _texts_of(one)]
            flow = ["flow"] if caller in _OF_A_FLOW else []
            yield DeclaredMetric(name, _KINDS[caller], (*flow, *labels), _text_of(second))


def _text_of(node: ast.expr) -> str:
    """Read a text; what is put into one is named in capitals."""
    if isinstance(node, ast.JoinedStr):
        return "".join(
            ast.unparse(part.value).upper() if isinstance(part, ast.FormattedValue) else _text_of(part)
            for part in node.values
        )
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _texts_of(node: ast.expr) -> Iterator[str]:
    """Read the texts of a list or a tuple, or one by itself."""
    for one in node.elts if isinstance(node, ast.List | ast.Tuple) else [node]:
        if text := _text_of(one):
            yield text
