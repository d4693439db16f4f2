"""The layers of settings below the environment: `eddy.yaml`, then the preset. Each says what none above it says."""

from collections.abc import Mapping
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from dataflows.run.presets import PRESETS
from dataflows.run.yaml_file import YamlError, YamlFile

CONFIG_FILE = Path("eddy.yaml")
"""Read where it is there and the environment names no other."""
ALTERNATIVES = {"experiments": "experiments_file", "experiments_file": "experiments"}
"""Settings that say the same in two ways: what is set above in one is not set below in the other."""


class _Layer(PydanticBaseSettingsSource):
    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        """Values come all at once, not one by one."""
        return None, field_name, False

    def _unset(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Leave out what is set above.

        A setting is set as a whole: of event weights that the environment names, no layer below adds any.
        """
        given = self.current_state
        return {
            name: {part: held for part, held in value.items() if part not in given.get(name, {})}
            if self._is_section(name) and isinstance(value, Mapping) and isinstance(given.get(name, {}), Mapping)
            else value
            for name, value in values.items()
            if (name not in given or self._is_section(name)) and ALTERNATIVES.get(name) not in given
        }

    def _is_section(self, name: str) -> bool:
        field = self.settings_cls.model_fields.get(name)
        return field is not None and (is_dataclass(field.annotation) or hasattr(field.annotation, "model_fields"))


class FileLayer(_Layer):
    """Gives pydantic what the file says that `config` names, else `eddy.yaml` in the working folder."""

    def __call__(self) -> dict[str, Any]:
        """Return the file's values that the environment does not set.

        Raises
        ------
        YamlError : the file cannot be read, or is none of settings.
        """
        file = config_file(self.current_state.get("config"))
        return {} if file is None else {**self._unset(file.data), "config": file.path}


class PresetLayer(_Layer):
    """Gives pydantic the values of the preset that is named; an unknown name is left to the field's own check."""

    def __call__(self) -> dict[str, Any]:
        """Return the preset's values that neither the environment nor the file sets."""
        preset = next((preset for name, preset in PRESETS.items() if name == self.current_state.get("preset")), None)
        return {} if preset is None else self._unset(preset.settings)


def config_file(named: str | Path | None) -> YamlFile | None:
    """Read the file of settings; None where none is named and no `eddy.yaml` is there.

    Raises
    ------
    YamlError : it cannot be read, or is none of settings.
    """
    if not named and not CONFIG_FILE.is_file():
        return None
    file = YamlFile.read(Path(named or CONFIG_FILE))
    if not isinstance(file.data, dict):
        raise YamlError(f"{file.where(())}: no settings are in it: begin with a section's name, such as `strategy:`")
    if "config" in file.data:
        raise YamlError(f"{file.where(('config',))}: config: only EDDY_CONFIG can name the file: take this line out")
    return replace(file, data={str(name): value for name, value in file.data.items()})
