"""Topics of their own on a broker, and the settings of flows on them."""

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from dataflows.chaos.copies import Copies
from dataflows.chaos.recorder import Recorder
from dataflows.errors import EddyError
from dataflows.kafka.admin import Client, create_topics
from dataflows.kafka.lag import GroupLag
from dataflows.run.infrastructure import RecoverySettings
from dataflows.topics import declare

RECORDED = ("events", "recommendations", "dead-letters", "assignments")
WRITTEN = {"recommend": "recommendations", "learn": "model-updates", "evaluate": "experiment-results"}
"""What each flow writes as long as it has something to do."""
READ = {"recommend": ("events",), "learn": ("events",), "evaluate": ("events", "recommendations", "assignments")}
"""What each flow reads of what comes while chaos lasts."""
STANDSTILL_S = 300.0
"""How long a flow may come no nearer to the end of its topics."""
DEFAULT_EPOCH_S = RecoverySettings().epoch_interval_s
EXPERIMENTS = """\
experiments:
  - name: chaos
    variants:
      - {name: one, weight: 1, strategy: {ranker: blend, n_items: 3}}
      - {name: two, weight: 1, strategy: {ranker: blend, n_items: 3, diversity: 0.3}}
"""


@dataclass(frozen=True, slots=True)
class Installation:
    """One prefix on a broker."""

    prefix: str
    folder: Path
    """For logs, recovery stores and a copy of the topics."""
    settings: dict[str, str]
    """Environment variables of all flows."""

    @classmethod
    def make(
        cls, servers: str, folder: Path, partitions: int, settings: Mapping[str, str] = MappingProxyType({})
    ) -> "Installation":
        """Make all topics under a prefix that nobody else has.

        Raises
        ------
        EddyError : the broker does not answer, or would not make them.
        """
        prefix = f"chaos-{int(time.time() * 1_000):x}-"
        create_topics({"bootstrap.servers": servers}, declare(prefix), partitions)
        experiments = folder / "experiments.yaml"
        experiments.write_text(EXPERIMENTS)
        own = {
            "EDDY_KAFKA__BOOTSTRAP_SERVERS": servers,
            "EDDY_TOPICS__PREFIX": prefix,
            "EDDY_EXPERIMENTS_FILE": str(experiments),
            "EDDY_RECOVERY__PARTITIONS": "4",
            "EDDY_EVALUATE__PUBLISH_EVERY_S": "1",
            "EDDY_PROFILE__MAX_EVENTS_PER_5_MIN": "1000000000",  # or a bot's events would be without a slate
        }
        return cls(prefix, folder, own | dict(settings))

    @property
    def client(self) -> Client:
        """What a client of the broker needs."""
        return {"bootstrap.servers": self.settings["EDDY_KAFKA__BOOTSTRAP_SERVERS"]}

    def copies(
        self, flow: str, n: Callable[[], int] = lambda: 1, epoch_s: Callable[[], int] = lambda: DEFAULT_EPOCH_S
    ) -> Copies:
        """Run a flow here: in `n` processes at each start, `epoch_s` seconds between its snapshots."""
        return Copies(flow, self.settings, self.folder, n, epoch_s)

    def wait_until_caught_up(self, flows: list[Copies]) -> None:
        """Wait until flows have read all that there is.

        Raises
        ------
        EddyError : one has stopped, or comes no nearer to the end.
        """
        for copies in flows:
            topics = [f"{self.prefix}{topic}" for topic in READ[copies.flow]]
            with closing(GroupLag(self.client, f"{self.prefix}eddy-{copies.flow}", topics)) as lag:
                least, nearer_at = max(lag.by_partition()), time.monotonic()
                while least > 1:
                    copies.check()
                    if time.monotonic() - nearer_at > STANDSTILL_S:
                        raise EddyError(f"{copies.flow} has come no nearer to the end for {STANDSTILL_S:.0f} s")
                    time.sleep(0.5)
                    if (now := max(lag.by_partition())) < least:
                        least, nearer_at = now, time.monotonic()

    def recorder(self) -> Recorder:
        """Copy the topics from now on, into files that an undisturbed flow can read."""
        return Recorder(self.client, self.prefix, RECORDED, WRITTEN.values(), self.folder / "recorded")
