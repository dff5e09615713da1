"""Occupied bins of a histogram as few bytes."""

from __future__ import annotations

import json
import zlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from virtualobserver.data.axis import Axis
from virtualobserver.errors import InvalidFile
from virtualobserver.maths.arrays import Array

__all__ = ["axes_of", "packed", "unpacked"]

MAGIC = b"VOH2"

_LIMITS = {
    kind: [
        (f"<{kind}{size}", int(np.iinfo(f"{kind}{size}").min), int(np.iinfo(f"{kind}{size}").max))
        for size in (1, 2, 4)
    ]
    for kind in "iu"
}


def packed(axes: tuple[Axis, ...], index: NDArray[np.int64], count: NDArray[np.uint64]) -> bytes:
    """Return axes, codes (n_bins, n_axes) and counts (n_bins) as bytes; equal input gives equal bytes."""
    # neighbours differ by little, so differences take few bytes and compress well
    steps = _narrow(np.diff(index, axis=0, prepend=0).T, "i")
    counts = _narrow(count, "u")
    header = _header_of(axes)
    sizes = np.array([len(header), count.size, steps.itemsize, counts.itemsize], dtype="<u8")
    body = b"".join((sizes.tobytes(), header, steps.tobytes(), counts.tobytes()))
    return MAGIC + zlib.compress(body, level=1)


def unpacked(data: bytes) -> tuple[bytes, NDArray[np.int64], NDArray[np.uint64]]:
    """Return the header (see `axes_of`), the codes and the counts in bytes that `packed` gave.

    Raises
    ------
    InvalidFile
        The bytes are something else, or were cut.
    """
    try:
        if data[:4] != MAGIC:
            raise ValueError("wrong first bytes")
        body = zlib.decompress(data[4:])
        length, n, step_size, count_size = np.frombuffer(body, "<u8", 4).tolist()
        start = 32 + length
        middle = len(body) - n * count_size
        steps = np.frombuffer(body[start:middle], f"<i{step_size}")
        count = np.frombuffer(body, f"<u{count_size}", n, middle)
        header = body[32:start]
        if n == 0:
            return header, np.zeros((0, len(axes_of(header))), np.int64), np.zeros(0, np.uint64)
        if middle <= start or steps.size % n:
            raise ValueError("cut short")
        return header, steps.reshape(-1, n).T.cumsum(axis=0, dtype=np.int64), count.astype(np.uint64)
    except (ValueError, zlib.error, TypeError, AttributeError) as exc:
        msg = f"these {len(data)} bytes hold no histogram: {exc}"
        raise InvalidFile(msg) from exc


@lru_cache(maxsize=256)
def axes_of(header: bytes) -> tuple[Axis, ...]:
    """Return the axes in a header; those of many parts are mostly the same ones."""
    return tuple(Axis.from_dict(values) for values in json.loads(header))


@lru_cache(maxsize=256)
def _header_of(axes: tuple[Axis, ...]) -> bytes:
    return json.dumps([axis.as_dict() for axis in axes], sort_keys=True, separators=(",", ":")).encode()


def _narrow(numbers: Array, kind: str) -> Array:
    """Return the numbers in the smallest type that holds them all."""
    low, high = (int(numbers.min()), int(numbers.max())) if numbers.size else (0, 0)
    for dtype, least, most in _LIMITS[kind]:
        if least <= low and high <= most:
            return numbers.astype(dtype)
    return numbers.astype(f"<{kind}8")
