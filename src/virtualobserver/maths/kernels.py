"""Compiled kernels where numba is installed, and sorting networks that run over many pixels at once.

A module of kernels is imported only where `have_numba` is true; every caller has a NumPy path that gives the
same numbers, which `compiled=False` selects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

__all__ = ["have_numba", "jit", "sorting_network", "use_kernel"]

LITTLE = 1_000_000
"""Values that NumPy goes through in a fraction of the time that compiling takes."""

Function = TypeVar("Function", bound=Callable[..., object])


@cache
def have_numba() -> bool:
    """Whether numba can be imported; it is not imported by asking."""
    return find_spec("numba") is not None


def use_kernel(compiled: bool | None, work: int | None = None) -> bool:
    """Return whether to use a compiled kernel.

    Parameters
    ----------
    compiled
        As asked; None = where numba is installed and there is so much to do that it pays.
    work
        Number of values to go through. To compile a kernel takes seconds, in which NumPy has done what is little.
    """
    if compiled is not None:
        return compiled
    return have_numba() and (work is None or work >= LITTLE)


def jit(function: Function) -> Function:
    """Compile `function` with numba, without the interpreter's lock; return it as it is without numba."""
    if not have_numba():
        return function
    numba = import_module("numba")
    try:
        return cast("Function", numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:  # no folder where the machine code could be kept
        return cast("Function", numba.njit(nogil=True)(function))


@cache
def _network(n: int, wanted: tuple[int, ...] | None) -> NDArray[np.int64]:
    pairs: list[tuple[int, int]] = []
    p = 1
    while p < n:
        k = p
        while k >= 1:
            for j in range(k % p, n - k, 2 * k):
                ends = range(j, j + min(k, n - j - k))
                pairs += [(i, i + k) for i in ends if i // (2 * p) == (i + k) // (2 * p)]
            k //= 2
        p *= 2
    if wanted is not None:
        needed, kept = set(wanted), []
        for low, high in reversed(pairs):
            if low in needed or high in needed:
                needed |= {low, high}
                kept.append((low, high))
        pairs = kept[::-1]
    network = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    network.flags.writeable = False
    return network


def sorting_network(n: int, wanted: Iterable[int] | None = None) -> NDArray[np.int64]:
    """Return the comparisons of Batcher's odd-even merge sort of `n` values.

    Parameters
    ----------
    n
        Number of values.
    wanted
        Ranks that have to be right at the end; comparisons that do not matter to them are left out. All
        ranks by default.

    Returns
    -------
    array of int, shape (comparisons, 2)
        Exchange values `low` and `high` of each row where they are out of order.

    Notes
    -----
    K. E. Batcher, "Sorting networks and their applications", AFIPS 1968. The order of the comparisons does not
    depend on the values, so one comparison serves a whole row of pixels in vector instructions.
    """
    return _network(n, None if wanted is None else tuple(sorted(wanted)))
