"""Looks at a whole store before a flow starts on it: what this release cannot read is refused before anything is."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from bytewax.dataflow import Dataflow, Operator

from dataflows.store.backup import refuse_unfinished
from dataflows.store.files import (
    StoreError,
    StoreMoment,
    explained,
    last_moved_of,
    open_file,
    partition_files,
    reading,
    resume_epoch_of,
)
from dataflows.store.states import OPTIONAL_STEPS, unpickle

Builder = Callable[[Any], object]
"""Makes of a key's state what the step works with, as the engine does when it resumes."""


MAX_REASONS = 5
"""What is wrong most often is named, the rest is only counted."""


class UnreadableStateError(StoreError):
    """A store holds state that this release cannot read."""


def check_store(folder: Path, flow: Dataflow) -> None:
    """Read every state of a store as the flow would, by the flow's own steps, and keep none of it.

    Parameters
    ----------
    folder : of the store; one without a store is one that this start will make.

    Raises
    ------
    UnreadableStateError : a state is of a newer release, damaged, or of a step that the flow does not have.
    StoreError : the store is damaged or incomplete.
    """
    refuse_unfinished(folder)
    if not partition_files(folder):
        return
    with reading(folder) as moment:
        _ = moment.generation  # raises where it is not that of all files
        problems = _problems(moment, flow)
    if problems:
        found = "; ".join(f"{n:,} of {step}: {what}" for (step, what), n in problems.most_common(MAX_REASONS))
        more = problems.total() - sum(n for _, n in problems.most_common(MAX_REASONS))
        found += f"; and {more:,} more" if more else ""
        raise UnreadableStateError(
            f"{folder}: this release cannot read what the flow {flow.flow_id} has kept there. Rows {found}. Nothing "
            "was read from the topics and nothing was written. Start the release that wrote it, or restore a backup "
            "that this one can read (`eddy state restore`); to start over, move the folder away"
        )


def _problems(moment: StoreMoment, flow: Dataflow) -> Counter[tuple[str, str]]:
    """Count the rows that cannot be read, by step and reason."""
    steps = {step.step_id: _builder_of(step) for step in _all_steps(flow.substeps)}
    problems: Counter[tuple[str, str]] = Counter()
    for row in moment.rows():
        if row.change is None:
            continue
        build = steps.get(row.step_id)
        if build is None:
            if row.step_id not in OPTIONAL_STEPS:
                problems[row.step_id, _unknown(row.step_id, flow.flow_id)] += 1
            continue
        try:
            build(unpickle(row.change))
        except Exception as error:  # noqa: BLE001 - whatever it is, the resume would end by it
            problems[row.step_id, str(error) or type(error).__name__] += 1
    return problems


def _unknown(step_id: str, flow_id: str) -> str:
    owner = step_id.partition(".")[0]
    return f"this is a store of the flow {owner}" if owner != flow_id else "this release has no such step"


def _all_steps(steps: Iterable[Operator]) -> Iterator[Operator]:
    for step in steps:
        yield step
        yield from _all_steps(step.substeps)


def _builder_of(step: Operator) -> Builder:
    """Find what a step makes of its state; sources and sinks are not opened to find out."""
    builder: Builder = getattr(step, "builder", lambda state: state)
    return builder


def drop_unfinished(folder: Path) -> int:
    """Drop what was written of an epoch that never ended, and of runs that ended none; return how many rows that were.

    The engine passes over these rows at this resume and takes them at a later one, when an epoch of the same number
    has ended without writing the same keys again: of a user's event it would then keep the effect and lose the slate.
    Call it once the store is ours, before the engine opens it.
    """
    with explained(folder), ExitStack() as stack:
        files = [stack.enter_context(closing(open_file(path, writable=True))) for path in partition_files(folder)]
        epoch, last_moved = resume_epoch_of(files), last_moved_of(files)
        n_dropped = 0
        for file in files:
            if last_moved is not None:
                file.execute("DELETE FROM exs WHERE ex_num > ?", (last_moved,))
            # Looked for first: the processes of a cluster on one machine share the files, and looking locks none.
            rowids = file.execute("SELECT rowid FROM snaps WHERE snap_epoch >= ?", (epoch,)).fetchall()
            file.executemany("DELETE FROM snaps WHERE rowid = ?", rowids)
            n_dropped += len(rowids)
        return n_dropped
