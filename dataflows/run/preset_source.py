"""Where pydantic takes the values of a preset from, for all that nobody has set."""

from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from dataflows.run.presets import PRESETS


class PresetSource(PydanticBaseSettingsSource):
    """The preset that the sources before this one name; a name that is unknown is left to the field's own check."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        """Values come by the section, not one by one."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the preset's sections, without what was set elsewhere.

        A setting is set as a whole: of event weights that the environment names, the preset adds none.
        """
        preset = next((preset for name, preset in PRESETS.items() if name == self.current_state.get("preset")), None)
        if preset is None:
            return {}
        return {
            section: {name: value for name, value in values.items() if name not in self._set_in(section)}
            for section, values in preset.settings.items()
        }

    def _set_in(self, section: str) -> dict[str, Any]:
        given = self.current_state.get(section)
        return given if isinstance(given, dict) else {}
