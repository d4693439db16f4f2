"""How a process is set, told without saying how: a hash of each setting that all processes of a flow have to share."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from dataflows.run.setting_errors import variable_of
from dataflows.run.settings import Settings

OWN = {
    "EDDY_CONFIG",
    "EDDY_CLUSTER__PROCESS_ID",
    "EDDY_KAFKA__OPTIONS",
    "EDDY_KAFKA__CONSUMER_OPTIONS",
    "EDDY_KAFKA__PRODUCER_OPTIONS",
    "EDDY_KAFKA__SSL_CA_LOCATION",
    "EDDY_KAFKA__SSL_CERTIFICATE_LOCATION",
    "EDDY_KAFKA__SSL_KEY_LOCATION",
    "EDDY_KAFKA__SSL_KEY_PASSWORD",
    "EDDY_KAFKA__SASL_PASSWORD",
    "EDDY_RECOVERY__FOLDER",
    "EDDY_HTTP__HOST",
    "EDDY_HTTP__PORT",
    "EDDY_HTTP__ENABLED",
    "EDDY_THREADS",
    "EDDY_WATCHDOG_S",
    "EDDY_LOG_LEVEL",
}
"""What may differ: where a process runs and how it connects. All else decides on what users are shown."""
FILES = {"EDDY_EXPERIMENTS_FILE", "EDDY_CHECKPOINT", "EDDY_SEQUENCE_MODEL"}
"""Settings that name a file: what is in it has to be the same, not where it lies."""


def fingerprints(settings: Settings) -> dict[str, str]:
    """Return a hash of each setting that all processes of a flow have to share, and of the release, by name."""
    values: dict[str, Any] = {"release": version("eddy-recs")}
    for section in Settings.model_fields:
        held = getattr(settings, section)
        if is_dataclass(held):
            values |= {variable_of(section, part.name): getattr(held, part.name) for part in fields(held)}
        elif hasattr(type(held), "model_fields"):
            values |= {variable_of(section, part): getattr(held, part) for part in type(held).model_fields}
        else:
            values[variable_of(section)] = held
    return {name: _print(name, value) for name, value in values.items() if name not in OWN}


def _print(name: str, value: Any) -> str:
    if name in FILES and isinstance(value, Path) and value.is_file():
        return sha256(value.read_bytes()).hexdigest()[:16]
    return sha256(msgspec.json.encode(value, enc_hook=_plain, order="deterministic")).hexdigest()[:16]


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)
