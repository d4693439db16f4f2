"""Run a program that ends with its starter: `python exit_with_parent.py GRACE_S PROGRAM [ARGUMENT ...]`.

The guard's standard input is a pipe whose other end only the parent holds. When the parent closes it, or dies
in whatever way, the program gets SIGTERM and, GRACE_S seconds later, SIGKILL. The byte `KILL` is an order to
kill at once. The guard ends with the program. It is run by its path, so as not to import the project.
"""

import subprocess
import sys
import threading

KILL = b"k"


def exit_with_parent(program: "subprocess.Popen[bytes]", grace_s: float) -> None:
    """Wait for the pipe to close or for the order to kill, and end the program."""
    if sys.stdin.buffer.read(1) == KILL:
        program.kill()
        return
    program.terminate()
    try:
        program.wait(grace_s)
    except subprocess.TimeoutExpired:
        program.kill()


if __name__ == "__main__":
    guarded = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL)  # noqa: S603
    threading.Thread(target=exit_with_parent, args=(guarded, float(sys.argv[1])), daemon=True).start()
    sys.exit(guarded.wait())
