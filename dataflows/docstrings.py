"""What classes say of their fields: the text below each, which Python itself does not keep."""

import ast
import inspect
import textwrap
from dataclasses import is_dataclass
from itertools import pairwise
from typing import Any


def attribute_docstrings(kind: type[Any]) -> dict[str, str]:
    """Read the docstrings below a class's fields and those that it inherits, which Python itself does not keep."""
    bases = [base for base in kind.__mro__ if is_dataclass(base) or base is kind]
    return {name: text for base in reversed(bases) for name, text in _declared(base).items()}


def _declared(kind: type[Any]) -> dict[str, str]:
    (declared,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(declared, ast.ClassDef)  # noqa: S101  # what a class's source is
    return {
        ast.unparse(field.target): " ".join(str(ast.literal_eval(text.value)).split())
        for field, text in pairwise(declared.body)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr)
    }
