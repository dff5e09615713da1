"""How much memory a file may ask for: looked at before anything is read."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING, Final

from virtualobserver.errors import InvalidFile

if TYPE_CHECKING:
    import pyarrow.parquet

__all__ = ["ALWAYS", "check_claim", "check_parquet", "check_size", "most_bytes"]

ALWAYS: Final = 1 << 28
"""Bytes that any file may ask for, however small it is."""
_TIMES: Final = 1100
"""Bytes that one byte of a file may become: deflate, the densest of the packings in use, reaches 1032."""


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
    groups = (facts.row_group(number).total_byte_size for number in range(facts.num_row_groups))
    check_size(max(sum(groups), 8 * facts.num_rows * facts.num_columns), place)
