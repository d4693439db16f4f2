"""What flows make of recorded messages where nobody kills them: the same ones over files, to compare with."""

from collections.abc import Iterable
from pathlib import Path

from dataflows.cli.results import newest_results
from dataflows.demo.flow_process import FlowProcess
from dataflows.errors import EddyError
from dataflows.files.source import FileSource, read_whole
from dataflows.records import Record
from models.messages import ExperimentResult

Rows = dict[bytes, bytes]
"""The newest value of each key of `model-updates`."""


def newest_rows(records: Iterable[Record]) -> Rows:
    """Keep the newest value of each key; what was taken away is not there."""
    newest = {record.key or b"": record.value for record in records}
    return {key: value for key, value in newest.items() if value is not None}


def run_over_files(flow: str, settings: dict[str, str], topics: Path, folder: Path) -> None:
    """Let a flow read file topics to their end.

    Raises
    ------
    EddyError : it failed; the text ends with its log.
    """
    own = {"EDDY_TOPICS__FOLDER": str(topics), "EDDY_TOPICS__PREFIX": "", "EDDY_CLUSTER__ADDRESSES": ""}
    process = FlowProcess(flow, settings | own, folder / f"{flow}-undisturbed.log")
    if process.wait(timeout_s=900.0) != 0:
        raise EddyError(f"{flow} over files failed:\n{process.last_words()}")


def rows_of_files(topics: Path) -> Rows:
    """Read the tables that `learn` has written to files."""
    return newest_rows(_records(FileSource(topics, "model-updates", packed=True)))


def results_of_files(topics: Path) -> dict[str, ExperimentResult]:
    """Read the results that `evaluate` has written to files."""
    return newest_results(_records(FileSource(topics, "experiment-results")))


def _records(source: FileSource) -> Iterable[Record]:
    return (record for records in read_whole(source) for record in records)
