"""What a SQLite file's write-ahead log holds, as SQLite itself does not say: it takes a damaged log for an empty one.

A log is a header of 32 bytes and then frames, a page of the file each behind 24 bytes of its own. A frame counts while
it has the header's salts and an unbroken chain of checksums; SQLite leaves out all behind the first that has not, since
a crash may cut the last transaction short. So one byte of damage takes everything that was committed behind it, and
nobody is told. The format: https://sqlite.org/fileformat2.html#walformat and https://sqlite.org/walformat.html.
"""

import struct
from pathlib import Path
from typing import NamedTuple

MAGIC = (0x377F0682, 0x377F0683)
"""How a header begins: checksums over little-endian words, or over big-endian ones."""
HEADER = struct.Struct(">8I")
"""Magic, version, bytes of a page, checkpoints, two salts, two checksums."""
FRAME = struct.Struct(">6I")
"""Page, pages of the file behind a commit (else 0), two salts, two checksums."""
INDEX = struct.Struct("=16xI12x8s")
"""Where the shared index says how many frames SQLite found to count, and of which log: its salts, as in its header."""
WORD = 2**32


class WriteAhead(NamedTuple):
    """A log as its bytes say."""

    header: bytes
    """Another one after a checkpoint."""
    is_torn: bool
    """Whether there are frames behind a header that is none: SQLite would read none of them."""
    commits: list[int]
    """Numbers, from 1, of the frames that end a transaction and carry the header's salts."""


def log_of(database: Path) -> Path:
    """Name a SQLite file's write-ahead log."""
    return database.with_name(f"{database.name}-wal")


def index_of(database: Path) -> Path:
    """Name the index of that log, which all that have it open share."""
    return database.with_name(f"{database.name}-shm")


def read_log(database: Path) -> WriteAhead:
    """Read the log of a file.

    Raises
    ------
    OSError : it cannot be read.
    """
    log = log_of(database)
    size = log.stat().st_size if log.exists() else 0
    if size < HEADER.size + FRAME.size:
        return WriteAhead(b"", False, [])
    with log.open("rb") as file:
        head = file.read(HEADER.size)
        magic, _, page_size, _, *salts, first, second = HEADER.unpack(head)
        if magic not in MAGIC or _checksum(head[:24], is_big=magic == MAGIC[1]) != (first, second):
            # A header is on the disk before the first frame is: where there are frames, there was one.
            return WriteAhead(head, any(file.read(FRAME.size)), [])
        commits = []
        step = FRAME.size + page_size
        for number, at in enumerate(range(HEADER.size, size - step + 1, step), 1):
            file.seek(at)
            _, pages, *own, _, _ = FRAME.unpack(file.read(FRAME.size))
            if own == salts and pages:
                commits.append(number)
    return WriteAhead(head, False, commits)


def n_uncounted(database: Path, log: WriteAhead) -> int:
    """Return how many transactions of a log SQLite leaves out, once a connection has read the file and is still open.

    The index is read once: to close it lets go of the connection's own lock on it (POSIX locks are a process's), and
    from then on another process may begin it anew. One that counts the frames of another log says nothing of this one.
    """
    index = index_of(database)
    if not log.commits or not index.exists():
        return len(log.commits)
    counted, salts = INDEX.unpack(index.read_bytes()[: INDEX.size])
    return sum(number > counted for number in log.commits) if salts == log.header[16:24] else 0


def _checksum(head: bytes, *, is_big: bool) -> tuple[int, int]:
    one = two = 0
    words = struct.unpack(f"{'>' if is_big else '<'}{len(head) // 4}I", head)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        one = (one + even + two) % WORD
        two = (two + odd + one) % WORD
    return one, two
