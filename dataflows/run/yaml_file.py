"""YAML files that people write, or JSON: their plain values, and the line where each of them stands."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dataflows.errors import EddyError
from models.experiments.assign.declaration import Step


class YamlError(EddyError):
    """A file cannot be read; the text begins with `file:line`."""


@dataclass(frozen=True, slots=True)
class YamlFile:
    """A file that was read."""

    path: Path
    data: Any
    """Its plain values; None where it is empty."""
    _root: yaml.Node | None
    """The same as nodes, which know their lines."""

    @classmethod
    def read(cls, path: Path) -> "YamlFile":
        """Read a file.

        Raises
        ------
        YamlError : it cannot be read, is no YAML, or repeats a key.
        """
        try:
            content = path.read_bytes()
            loader = _Loader(content.decode())
            root = loader.get_single_node()
            return cls(path, loader.construct_document(root) if root else None, root)
        except OSError as error:
            raise YamlError(f"{path}: {error.strerror}: name a file that can be read") from None
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise YamlError(f"{path}:{line}: not UTF-8: save the file in UTF-8") from None
        except yaml.reader.ReaderError as error:
            line = content.decode().count("\n", 0, error.position) + 1
            raise YamlError(f"{path}:{line}: a control character: delete it") from None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise YamlError(f"{path}:{mark.line + 1 if mark else 1}: not YAML: {_explain(error)}") from None

    def where(self, path: tuple[Step, ...]) -> str:
        """Write where the part at a path stands, or the innermost part of the path that is there: `file:line`."""
        node = self._root
        mark = node.start_mark if node else None
        for step in path:
            if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
                node = node.value[step]
                mark = node.start_mark
            elif isinstance(node, yaml.MappingNode):
                # A merged key (`<<`) comes before the key that overrides it.
                for key, value in reversed(node.value):
                    if key.value == str(step):
                        mark, node = key.start_mark, value
                        break
                else:
                    break
        return f"{self.path}:{mark.line + 1 if mark else 1}"


class _Loader(yaml.SafeLoader):
    """A safe loader to which a repeated key is an error; PyYAML would let the last one win in silence."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                text = f"the key {key.value!r} is repeated: keep one of them"
                raise yaml.MarkedYAMLError(problem=text, problem_mark=key.start_mark)
            seen.add(key.value)
        return node


def _explain(error: yaml.MarkedYAMLError) -> str:
    text = ", ".join(part for part in (error.context, error.problem) if part)
    return f"{text}: indent with spaces" if "\\t" in text else text
