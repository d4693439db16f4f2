"""The reference, made from the code when the site is built: settings, commands, topics, messages, metrics, modules."""

from itertools import groupby
from typing import Any

import typer
from declared_metrics import metrics
from message_fields import messages
from tables import code, table
from typer.cli import get_docs_for_click

from dataflows.cli.main import COMMANDS, load_command
from dataflows.cli.setting_list import Setting, all_settings
from dataflows.run.settings import Settings
from dataflows.topics import FLOWS, TOPICS, Topic

MADE = "<!-- Made from the code when the site is built. -->\n\n"
MODULES = {
    "Messages and settings": ("models.messages", "models.names", "models.strategy", "models.config"),
    "Candidate sources": ("models.candidates.protocol", "models.candidates.selection", "models.query.batch"),
    "The item table and the user": ("models.items.table", "models.user.state", "models.user.query"),
    "Rankers": (
        "models.rankers.network", "models.rankers.inputs", "models.rankers.served", "models.rankers.learners",
        "models.rankers.fit", "models.rankers.checkpoint",
    ),
    "Slates": ("models.serving.recommender",),
    "Experiments": ("models.experiments.assign.declaration", "models.experiments.judge.results"),
    "Offline": ("models.offline.train", "models.offline.policy.evaluate"),
    "Flows": ("dataflows.recommend", "dataflows.learn", "dataflows.evaluate", "dataflows.run.worker"),
}  # fmt: skip
"""What somebody who extends Eddy, or calls it, imports."""


def pages() -> dict[str, str]:
    """Return the pages of the reference by their place on the site."""
    made = {
        "settings": settings(),
        "commands": commands(),
        "topics": topics(),
        "messages": messages(),
        "metrics": metrics(),
        "python": python(),
    }
    return {f"reference/{name}.md": MADE + text for name, text in made.items()}


def settings() -> str:
    """Write a table of each section's variables."""
    text = (
        "# Settings\n\nEvery setting is a variable of the environment; an empty one has its default. An unknown one is "
        "refused. `eddy doctor --settings` prints the same list, with `--preset NAME` as a preset has it.\n"
    )
    for section, found in groupby(sorted(all_settings(), key=lambda one: bool(_section_of(one))), _section_of):
        kind = Settings.model_fields[section].annotation if section else Settings
        heading = f"EDDY_{section.upper()}__" if section else "Of no section"
        rows = [(f"`{one.variable}`", code(one.default), one.text) for one in found]
        text += f"\n## {heading}\n\n{_first_line(kind)}\n\n{table(('variable', 'default', 'meaning'), rows)}"
    return text


def _section_of(setting: Setting) -> str:
    section, separator, _ = setting.variable.removeprefix("EDDY_").partition("__")
    return section.lower() if separator else ""


def commands() -> str:
    """Write what each command says of itself."""
    text = "# Commands\n\n`eddy --help` lists them; `eddy COMMAND --help` says what stands here.\n\n"
    for name in COMMANDS:
        command = load_command(name)
        context = typer.Context(command, info_name=f"eddy {name}")
        text += get_docs_for_click(obj=command, ctx=context, indent=1, name=f"eddy {name}")
    return text.replace("\n* `--help`: Show this message and exit.", "")


def topics() -> str:
    """Write a table of the topics, and one of Kafka's settings for them."""
    rows = [
        (f"`{topic.name}`", topic.key, _message_link(topic), topic.written_by, ", ".join(_readers(topic)))
        for topic in TOPICS
    ]
    kept = [
        (
            f"`{topic.name}`",
            f"`{topic.cleanup}`",
            ", ".join(f"`{name}={value}`" for name, value in topic.config.items()),
        )
        for topic in TOPICS
    ]
    return (
        "# Topics\n\nKeys are UTF-8, values JSON, except on `model-updates`, whose rows are packed. Times are integer "
        "Unix milliseconds. `EDDY_TOPICS__PREFIX` stands before every name.\n\n"
        f"{table(('topic', 'key', 'value', 'written by', 'read by'), rows)}\n"
        "## How long they are kept\n\nAs `eddy topics create` makes them. Slates and assignments are kept uncompacted "
        f"for twice the longest attribution window.\n\n{table(('topic', 'cleanup.policy', 'settings'), kept)}"
    )


def _readers(topic: Topic) -> list[str]:
    return [flow for flow, of in FLOWS.items() if topic.name in of.reads]


def _message_link(topic: Topic) -> str:
    return f"[{topic.value}](messages.md#{topic.value.lower()})" if topic.value.isidentifier() else topic.value


def python() -> str:
    """Write what mkdocstrings makes the modules' own documentation of."""
    text = (
        "# Python\n\nWhat somebody who extends Eddy or calls it imports, as it documents itself. `models` is pure: no "
        "Kafka, no clock, no environment.\n"
    )
    for group, modules in MODULES.items():
        text += f"\n## {group}\n" + "".join(
            f"\n::: {module}\n    options: {{heading_level: 3}}\n" for module in modules
        )
    return text


def _first_line(kind: Any) -> str:
    return (kind.__doc__ or "").strip().partition("\n\n")[0].replace("\n", " ")
