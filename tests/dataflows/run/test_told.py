"""In a cluster the engine hides what went wrong: whoever caused it has to say so."""

import subprocess
import sys
import textwrap

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.testing import TestingSink, TestingSource, run_main

from dataflows.demo.broker_process import free_port
from dataflows.run.told import tell_failures
from tests import places

PROCESS = textwrap.dedent("""
    import sys, time
    import bytewax.operators as op
    from bytewax.dataflow import Dataflow
    from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
    from bytewax.run import cli_main
    from bytewax.testing import TestingSink
    from dataflows.run.told import tell_failures

    process, where, addresses = int(sys.argv[1]), sys.argv[2], sys.argv[3:]

    class Part(StatefulSourcePartition):
        n = 0
        def next_batch(self):
            time.sleep(0.01)
            self.n += 1
            if process == 1 and where == "next_batch" and self.n > 20:
                raise ValueError("the disk is gone")
            if self.n > 200:
                raise StopIteration
            return [("k", self.n)]
        def snapshot(self):
            return None

    class Source(FixedPartitionedSource):
        def list_parts(self):
            return ["0", "1"]
        def build_part(self, *_):
            if process == 1 and where == "build_part":
                raise ValueError("the disk is gone")
            return Part()

    flow = Dataflow("t")
    op.output("out", op.input("in", flow, Source()), TestingSink([]))
    tell_failures(flow, lambda error: print("told:", error, flush=True))
    cli_main(flow, process_id=process, addresses=addresses)
""")


@pytest.mark.parametrize("where", ["build_part", "next_batch"])
def test_the_process_that_failed_says_why(where: str):
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(number), where, *addresses],
            cwd=places.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in range(2)
    ]  # fmt: skip
    said = [process.communicate(timeout=60) for process in processes]
    told = [[line for line in out.splitlines() if line.startswith("told")] for out, _ in said]
    assert told == [[], ["told: the disk is gone"]]
    assert all("panic" in err and "the disk" not in err for _, err in said), "the engine says it by itself now"


class Counting(StatefulBatchLogic[int, int, int]):
    def __init__(self, so_far: int | None) -> None:
        self.n = so_far or 0

    def on_batch(self, values: list[int]) -> tuple[list[int], bool]:
        self.n += sum(values)
        if self.n > 5:
            raise OverflowError("too many")
        return [self.n], self.RETAIN

    def snapshot(self) -> int:
        return self.n


def a_flow(values: list[int], out: list[int]) -> Dataflow:
    flow = Dataflow("t")
    doubled = op.flat_map_batch(
        "double", op.input("in", flow, TestingSource(values)), lambda batch: [2 * n for n in batch]
    )
    counted = op.stateful_batch("count", op.key_on("key", doubled, lambda _: "all"), Counting)
    op.output("out", op.key_rm("bare", counted), TestingSink(out))
    return flow


def test_a_flow_that_tells_does_what_it_did_and_says_nothing_of_an_ordinary_end():
    out: list[int] = []
    told: list[Exception] = []
    flow = a_flow([1, 1], out)
    tell_failures(flow, told.append)
    run_main(flow)
    assert (out, told) == ([2, 4], [])


def test_what_the_logic_of_a_key_and_what_a_mapper_raises_is_told():
    for values, kind in ([1, 1, 1], OverflowError), ([1, None], TypeError):
        told: list[Exception] = []
        flow = a_flow(values, [])  # type: ignore[arg-type]
        tell_failures(flow, told.append)
        with pytest.raises(Exception, match=r"."):
            run_main(flow)
        assert [type(error) for error in told] == [kind]
