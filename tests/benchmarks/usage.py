"""What processes have used of the machine: CPU time, by kind of thread, and memory."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import psutil


def cpu_s(processes: Sequence[psutil.Process]) -> float:
    """Return the CPU seconds of some processes, and of all that they have started and that still run."""
    everyone = {one for process in processes for one in (process, *process.children(recursive=True))}
    return sum(sum(one.cpu_times()[:2]) for one in everyone)


def cpu_by_thread(processes: Sequence[psutil.Process]) -> Counter[str]:
    """Return the CPU seconds of some processes by kind of thread."""
    seconds: Counter[str] = Counter()
    for process in processes:
        for thread in process.threads():
            seconds[_kind(process.pid, thread.id)] += thread.user_time + thread.system_time
    return seconds


def memory_mb(processes: Sequence[psutil.Process]) -> float:
    """Return the resident memory of some processes."""
    return sum(process.memory_info().rss for process in processes) / 2**20


def _kind(pid: int, thread: int) -> str:
    if thread == pid:
        return "main"
    try:
        name = Path(f"/proc/{pid}/task/{thread}/comm").read_text()
    except OSError:  # it has ended, or this is no Linux
        return "others"
    return "Kafka client" if name.startswith("rdk:") else "others"
