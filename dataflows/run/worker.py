"""A flow in this process with all that it has beside its graph, and each flow for a plain Bytewax worker.

`python -m bytewax.run "dataflows.run.worker:learn()"` runs a flow as the environment says; flags of Bytewax decide on
recovery and processes.
"""

import argparse
import atexit
import logging
import os
import sys
from collections.abc import Collection, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from bytewax.dataflow import Dataflow
from rich.markup import escape

from dataflows.errors import EddyError, fixable
from dataflows.run.engine_failures import PeerError, explained
from dataflows.run.infrastructure import ClusterSettings
from dataflows.run.logs import announce, set_up_logs
from dataflows.run.recovery_store import check_files
from dataflows.run.resources import state_keys
from dataflows.run.runtime import Health, serve_health, tune_gc
from dataflows.run.settings import Settings, load
from dataflows.run.stopping import Owner, Stop, Watchdog, disown_others
from dataflows.run.told import tell_failures
from dataflows.run.wiring import open_flow
from dataflows.store.check import check_store, drop_unfinished
from dataflows.store.files import partition_files, size_of, write_ahead
from dataflows.store.persons import check_generation, wipe
from dataflows.store.spreading import spread
from dataflows.store.taking_over import Presence, alone, end_take_over, take_over

LARGE = 128 * 2**20
"""Bytes of a store, from which on a stop waits for the running epoch rather than write every state once more: of some
50,000 users, whom the engine would write in as many seconds as an epoch has."""

LONGEST_S = 30
"""An epoch for which a stop may wait: half of what the manifests grant it."""

log = logging.getLogger(__name__)


class Worker(NamedTuple):
    """A flow that can be run."""

    dataflow: Dataflow
    health: Health


@contextmanager
def open_worker(flow: str, settings: Settings, store: Path | None) -> Iterator[Worker]:
    """Lay out a flow that drains on signals and answers probes; its helpers stop with the context.

    Parameters
    ----------
    store : folder of the flow's recovery store, which is ours from now on.

    Raises
    ------
    EddyError : the broker, a topic or a setting is not what the flow needs.
    """
    set_up_logs(settings.log_level, settings.log_format)
    if store is not None:
        end_take_over(store)
        check_files(store)
    stop = Stop()
    health = Health(flow, pauses=stop.pauses)
    stop.on_signals()
    stop.on_dead_threads()
    with (
        serve_health(settings.http, health) as port,
        open_flow(flow, settings, stop, health, store) as dataflow,
        ExitStack() as held,
    ):
        if len(settings.cluster.members) > 1:
            tell_failures(dataflow, lambda error: _note(error, stop, store))
        where = settings.topics.folder or settings.kafka.bootstrap_servers
        probes = f"; health on http://{settings.http.host}:{port}/healthz" if port else ""
        announce(f"[bold]{flow}[/bold] runs on {escape(str(where))}{probes}", settings.log_format)
        if store is not None:
            health.metrics.watch_store(store)
            check_generation(store, state_keys(settings))
            erased = health.erased.known if health.erased is not None else ()
            held.enter_context(closing(_take_store(store, dataflow, stop, settings.cluster, erased)))
            is_alone = len(settings.cluster.members) <= 1  # the processes of a cluster do not leave in the same epoch
            if is_alone and settings.recovery.epoch_s(flow) <= LONGEST_S:
                stop.epoch_is_better = lambda: size_of(store) > LARGE
        stop.raise_failure()  # nothing was consumed yet
        health.ready = True
        with Watchdog(stop, settings.watchdog_s):
            try:
                yield Worker(dataflow, health)
            except PeerError:
                stop.raise_failure()  # the peer may have ended over the same, which says more than that it is gone
                raise


def _note(error: Exception, stop: Stop, store: Path | None) -> None:
    """Keep what went wrong in this process of a cluster, for when it ends over the others."""
    known = fixable(error) or explained(error, store)
    if known is None:
        log.error("the flow has failed", exc_info=error)
    else:
        stop.failure = stop.failure or known


def _take_store(
    store: Path, dataflow: Dataflow, stop: Stop, cluster: ClusterSettings, erased: Collection[str]
) -> Presence:
    """Look whether a store can be resumed from, and make it ours; only process 0's is the cluster's.

    Parameters
    ----------
    erased : keys of which nothing is to be left in it.

    Returns
    -------
    What says to later copies of the flow that this one is alive.

    Raises
    ------
    FencedError : another copy has taken it meanwhile.
    EddyError : this release cannot read the store, or it is damaged.
    """
    process = cluster.process
    if process == 0:
        check_store(store, dataflow)
    elif partition_files(store):
        log.warning(
            "%s: process %d finds a recovery store there. That is right where all processes share the folder of "
            "process 0; else empty it before the cluster starts, or two stores are mixed into one",
            store,
            process,
        )
    # Only now: a copy that cannot start takes nothing from the one that runs.
    presence = Presence(store)
    stop.owner = Owner(store / f"owner-{process}")
    disown_others(store, max(1, len(cluster.members)))
    if process == 0 and partition_files(store):
        if presence.others(store):
            log.warning("%s: another copy of the flow is alive: this one goes on from a copy of its store", store)
            take_over(store)
        with alone(store):
            stop.owner.check()  # whoever slept until now would change what its successor works with
            if n_dropped := drop_unfinished(store):
                log.info("%s: %d rows of an epoch that never ended are dropped", store, n_dropped)
            wipe(store, erased)
            if len(cluster.members) <= 1:  # another process may have the files open already
                spread(store)
            write_ahead(store)
    stop.owner.check()  # the engine opens the files by their names, whoever's they are
    return presence


def recommend() -> Dataflow:
    """Lay out the flow that makes slates, for a plain Bytewax worker."""
    return _plain_worker("recommend")


def learn() -> Dataflow:
    """Lay out the flow that learns, for a plain Bytewax worker."""
    return _plain_worker("learn")


def evaluate() -> Dataflow:
    """Lay out the flow that says what works, for a plain Bytewax worker."""
    return _plain_worker("evaluate")


def _plain_worker(flow: str) -> Dataflow:
    """Open a worker whose helpers stop when the interpreter exits.

    What is wrong ends the process with its text alone and exit code 1.
    """
    helpers = ExitStack()
    atexit.register(helpers.close)
    try:
        settings, store = _from_flags(load())
        worker = helpers.enter_context(open_worker(flow, settings, store))
    except EddyError as error:
        sys.exit(f"eddy: {error}")
    _explain_what_ends_it(store)
    tune_gc()
    return worker.dataflow


def _explain_what_ends_it(store: Path | None) -> None:
    """Let the interpreter say what a person can fix, as `eddy run` does, where the engine's own command runs a flow."""
    unexplained = sys.excepthook

    def explain(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        known = fixable(error) or explained(error, store)
        if known is None:
            unexplained(kind, error, trace)
        else:
            sys.stderr.write(f"eddy: {known}\n")

    sys.excepthook = explain


def _from_flags(settings: Settings) -> tuple[Settings, Path | None]:
    """Read Bytewax's flags: a stop has to reach all processes, and the recovery store needs an owner."""
    given = os.environ.get
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("-a", "--addresses", default=given("BYTEWAX_ADDRESSES", ""))
    parser.add_argument("-i", "--process-id", type=int, default=given("BYTEWAX_PROCESS_ID", "0"))
    parser.add_argument("-w", "--workers-per-process", type=int, default=given("BYTEWAX_WORKERS_PER_PROCESS", "1"))
    parser.add_argument("-r", "--recovery-directory", type=Path, default=given("BYTEWAX_RECOVERY_DIRECTORY"))
    flags = parser.parse_known_args()[0]
    if flags.workers_per_process > 1:
        raise EddyError("a flow's tables belong to one worker a process: scale with processes (-i and -a), not with -w")
    cluster = ClusterSettings(addresses=flags.addresses, process_id=flags.process_id)
    return settings.model_copy(update={"cluster": cluster}), flags.recovery_directory
