"""How much memory a file may ask for: looked at before anything is read."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from virtualobserver.errors import InvalidFile

if TYPE_CHECKING:
    import pyarrow.parquet

__all__ = ["ALWAYS", "check_claim", "check_parquet", "check_room", "check_size", "most_bytes"]

ALWAYS: Final = 1 << 28
"""Bytes that any file may ask for, however small it is."""
_TIMES: Final = 1100
"""Bytes that one byte of a file may become: deflate, the densest of the packings in use, reaches 1032."""

_STACK: Final = 8 << 20
"""Address space of a thread where the system does not say."""
_POOLS: Final = 64 << 20
"""Address space that Arrow's pools of memory take when they begin."""
_IO_THREADS: Final = 8
"""Threads that Arrow reads with, besides one for each core."""


def most_bytes() -> int:
    """Return the bytes that one table or image may take: half of the memory that this process may have."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    allowed, _ = resource.getrlimit(resource.RLIMIT_AS)
    return (memory if allowed == resource.RLIM_INFINITY else min(memory, allowed)) // 2


def check_size(wanted: int, place: Path | str) -> None:
    """Raise `InvalidFile` if reading takes more memory than there is for it.

    Parameters
    ----------
    wanted
        Bytes that would be needed.
    place
        File, and what of it, for the message.
    """
    if wanted > (most := most_bytes()):
        msg = f"{place}: would take {wanted} bytes of memory, and {most} are allowed; make it smaller, or cut it"
        raise InvalidFile(msg)


def check_room(wanted: int, place: Path | str) -> None:
    """Raise `MemoryError` if the address space of this process (``ulimit -v``) is used up but for a little.

    Arrow ends the program, or waits for ever, where it cannot start its threads.

    Parameters
    ----------
    wanted
        Bytes that are needed besides what Arrow takes for itself.
    place
        File, for the message.
    """
    allowed, _ = resource.getrlimit(resource.RLIMIT_AS)
    if allowed == resource.RLIM_INFINITY:
        return
    stack, _ = resource.getrlimit(resource.RLIMIT_STACK)
    stack = _STACK if stack == resource.RLIM_INFINITY else stack
    needed = wanted + _POOLS + stack * ((os.cpu_count() or 1) + _IO_THREADS)
    left = allowed - psutil.Process().memory_info().vms
    if left < needed:
        msg = f"{place}: reading takes {needed >> 20} MiB of address space, and {max(left, 0) >> 20} are left"
        raise MemoryError(msg)


def check_claim(wanted: int, size: int, place: Path | str) -> None:
    """Raise `InvalidFile` if a file promises more than its bytes can hold, or than there is memory for.

    Parameters
    ----------
    wanted
        Bytes that the file says it becomes.
    size
        Bytes that it has.
    place
        File, and what of it, for the message.
    """
    check_size(wanted, place)
    if wanted > max(ALWAYS, _TIMES * size):
        msg = f"{place}: promises {wanted} bytes, which {size} bytes of a file cannot hold; fetch it again"
        raise InvalidFile(msg)


def check_parquet(facts: pyarrow.parquet.FileMetaData, place: Path | str) -> None:
    """Raise `InvalidFile` if a Parquet file with this metadata becomes more than there is memory for."""
    check_room(0, place)
    groups = (facts.row_group(number).total_byte_size for number in range(facts.num_row_groups))
    check_size(max(sum(groups), 8 * facts.num_rows * facts.num_columns), place)
