"""Breaks the sink of every process that finds this file on its path: its snapshot forgets what the flow still owes.

So it was before a sink kept what it had read back: a flow that was killed, and stopped again before it had repeated
all, wrote the rest a second time.
"""

from dataflows.kafka.sink import KafkaSinkPartition

KafkaSinkPartition.snapshot = lambda self: self._writer.drain()  # type: ignore[method-assign]
