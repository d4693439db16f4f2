"""The topic `experiment-results`, read for people."""

from collections.abc import Iterable

import msgspec

from dataflows.errors import EddyError
from dataflows.records import Record
from dataflows.topics import EXPERIMENT_RESULTS
from models.messages import ExperimentResult


def newest_results(records: Iterable[Record]) -> dict[str, ExperimentResult]:
    """Keep the newest result of each experiment.

    Raises
    ------
    EddyError : a record is no result.
    """
    decode = msgspec.json.Decoder(ExperimentResult).decode
    newest: dict[str, ExperimentResult] = {}
    for record in records:
        try:
            result = decode(record.value or b"")
        except msgspec.MsgspecError as error:
            where = f"{EXPERIMENT_RESULTS.name}/{record.partition}, offset {record.offset}"
            raise EddyError(f"{where} is no result: {error}") from error
        newest[result.experiment] = result
    return newest
