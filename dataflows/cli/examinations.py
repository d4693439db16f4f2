"""What `eddy doctor` looks at: each examination yields findings, and none of them changes anything."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dataflows.errors import EddyError
from dataflows.kafka.admin import UnreachableError, list_topics
from dataflows.kafka.check import check_topics, outliving, whose_times
from dataflows.receipts import SigningKeyError
from dataflows.run.experiments_file import ExperimentError
from dataflows.run.resources import (
    checked_device,
    declared_experiments,
    receipt_signer,
    sequence_encoder,
    starting_checkpoint,
)
from dataflows.run.settings import Settings
from dataflows.serve.read_models.addresses import StoreAddress
from dataflows.serve.read_models.choice import served_model
from dataflows.topics import ERASURES, EVENTS, REQUESTS, declare
from models.rankers.checkpoint import SHIPPED, CheckpointError, load_checkpoint

TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    state: Literal["ok", "warning", "error"]
    """An `error` stops a flow or loses data; a `warning` can wait."""
    text: str
    """What was found and, where it is wrong, how to fix it."""


def examine_all(settings: Settings) -> Iterator[Finding]:
    """Look at everything that the flows need, in the order in which they need it."""
    yield from _file_topics(settings.topics.folder) if settings.topics.folder else _cluster(settings)
    yield _recovery(settings.recovery.folder)
    yield _privacy(settings)
    yield _experiments(settings)
    yield _checkpoint(settings.checkpoint)
    if settings.sequence_model is not None:
        yield _sequence(settings)
    yield _ranker(settings)
    if (url := settings.serve.store_url) is not None:
        yield _door_store(url.get_secret_value(), settings.topics.prefix)


def _file_topics(folder: Path) -> Iterator[Finding]:
    if folder.is_dir():
        yield Finding("topics", "ok", f"files in {folder}")
    else:
        text = f"{folder} is no folder: make it, or unset EDDY_TOPICS__FOLDER to use a cluster"
        yield Finding("topics", "error", text)


def _cluster(settings: Settings) -> Iterator[Finding]:
    client = settings.kafka.client()
    try:
        found = list_topics(client, TIMEOUT_S)
    except UnreachableError as error:
        yield Finding("broker", "error", str(error))
        return
    yield Finding("broker", "ok", f"{settings.kafka.bootstrap_servers} answers and has {len(found)} topics")
    topics = declare(settings.topics.prefix)
    problems = check_topics(client, topics, settings.topics.partitions, TIMEOUT_S)
    prefix = settings.topics.prefix
    problems += outliving(
        client, f"{prefix}{ERASURES.name}", [prefix + topic.name for topic in (EVENTS, REQUESTS)], TIMEOUT_S
    )
    for problem in problems:
        yield Finding("topics", problem.severity, problem.text)
    if not problems:
        yield Finding("topics", "ok", f"all {len(topics)} are as they should be")
    if text := whose_times(client, f"{settings.topics.prefix}{EVENTS.name}", TIMEOUT_S):
        yield Finding("times", "ok", text)


def _recovery(folder: Path | None) -> Finding:
    if folder is None:
        text = "off: after a crash a flow starts again from the log's beginning. Set EDDY_RECOVERY__FOLDER"
        return Finding("recovery", "warning", text)
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not nearest.is_dir():
        text = f"{nearest} is a file: name a folder in EDDY_RECOVERY__FOLDER"
    elif not os.access(nearest, os.W_OK | os.X_OK):
        text = f"{nearest} cannot be written: allow it to this user, or change EDDY_RECOVERY__FOLDER"
    elif open_to := [path for path in sorted(folder.glob("*/")) if path.stat().st_mode & 0o077]:
        text = f"others may look into {open_to[0]}, and what users did is in it: chmod -R go= {folder}"
        return Finding("recovery", "warning", text)
    else:
        made = "" if nearest == folder.absolute() else ", which the first run makes"
        return Finding("recovery", "ok", f"in {folder}{made}")
    return Finding("recovery", "error", text)


def _privacy(settings: Settings) -> Finding:
    try:
        key = receipt_signer(settings).verification_key
    except SigningKeyError as error:
        return Finding("privacy", "error", str(error))
    n = len(settings.privacy.secrets)
    state = f"state is kept under pseudonyms of {n} secrets" if n else "state is kept under user ids"
    if not n or key is None:
        lacking = [] if n else ["EDDY_PRIVACY__SECRETS"]
        lacking += [] if key else ["EDDY_PRIVACY__SIGNING_KEY"]
        signed = f"receipts are checked with {key}" if key else "receipts of erasures are not signed"
        return Finding("privacy", "warning", f"{state}; {signed}. Set {' and '.join(lacking)}")
    return Finding("privacy", "ok", f"{state}; receipts are checked with {key}")


def _experiments(settings: Settings) -> Finding:
    if not settings.has_experiments:
        return Finding("experiments", "ok", "none: neither eddy.yaml nor EDDY_EXPERIMENTS_FILE declares any")
    try:
        experiments = declared_experiments(settings)
    except ExperimentError as error:
        return Finding("experiments", "error", str(error))
    where = settings.experiments_file or settings.config or "EDDY_EXPERIMENTS"
    return Finding("experiments", "ok", f"{len(experiments.declared)} in {where}")


def _checkpoint(path: Path | None) -> Finding:
    try:
        checkpoint = load_checkpoint(path or SHIPPED)
    except (OSError, CheckpointError) as error:
        text = f"{error}: name a ranker's checkpoint in EDDY_CHECKPOINT, or none to use the shipped one"
        return Finding("checkpoint", "error", text)
    text = f"version {checkpoint.version} of the ranker {checkpoint.kind}, from {path or 'this release'}"
    return Finding("checkpoint", "ok", text)


def _sequence(settings: Settings) -> Finding:
    try:
        encoder = sequence_encoder(settings)
    except EddyError as error:
        return Finding("sequence model", "error", str(error))
    if not encoder or "sequence" not in settings.strategy.asked_sources:
        text = (
            "no slate goes by it: give `sequence` a weight in EDDY_STRATEGY__SOURCES, or leave EDDY_SEQUENCE_MODEL away"
        )
        return Finding("sequence model", "warning", text)
    return Finding("sequence model", "ok", f"version {encoder.version}, from {settings.sequence_model}")


def _ranker(settings: Settings) -> Finding:
    name = settings.ranker.name
    try:
        checked_device(settings)
        start = starting_checkpoint(settings)
    except EddyError as error:
        return Finding("ranker", "error", str(error))
    if name == "none":
        return Finding("ranker", "ok", "none learns: EDDY_RANKER__NAME is not set")
    if settings.strategy.ranker != name and not settings.has_experiments:
        text = f"{name} learns, but serves nobody: set EDDY_STRATEGY__RANKER={name}, or name it in an experiment"
        return Finding("ranker", "warning", text)
    return Finding("ranker", "ok", f"{name} learns, from {start.version if start else 'nothing'} on")


def _door_store(url: str, prefix: str) -> Finding:
    try:
        model = served_model(url, prefix)
        try:
            model.ping()
        finally:
            model.close()
    except EddyError as error:
        return Finding("door", "error", str(error))
    return Finding("door", "ok", f"{StoreAddress(url)} answers, for slates")
