"""Whoever gives tokens to clients of a cluster that wants OAuth: a function of the platform's own, by name."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from dataflows.errors import EddyError

TokenSource: TypeAlias = Callable[[str], tuple[Any, ...]]
"""Given `sasl.oauthbearer.config`: a token, the Unix seconds at which it expires, maybe a principal and extensions."""

VARIABLE = "EDDY_KAFKA__OAUTH_CB"


def token_source(name: str) -> TokenSource:
    """Find a function that is named `module:function`, also in the working folder.

    Raises
    ------
    EddyError : there is no such module, or no such function in it.
    """
    module, colon, function = name.partition(":")
    if not (module and colon and function):
        raise EddyError(f"{VARIABLE}: {name!r} is no module:function, such as company.msk:token")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    try:
        found = getattr(importlib.import_module(module), function, None)
    except Exception as error:  # whatever a module of theirs does as it is imported
        raise EddyError(f"{VARIABLE}: the module {module!r} cannot be imported: {error}") from error
    if not callable(found):
        raise EddyError(f"{VARIABLE}: the module {module!r} has no function {function!r}")
    source: TokenSource = found
    return source
