"""The one place where functions are compiled, and sorting networks that run over many pixels at once.

Importing numba costs half a second: modules of kernels are imported inside the functions that call them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

__all__ = ["jit", "jit_regrouped", "sorting_network", "wake"]

Function = TypeVar("Function", bound=Callable[..., object])


def jit(function: Function) -> Function:
    """Compile `function`, without the interpreter's lock."""
    return _compiled(function)


def jit_regrouped(function: Function) -> Function:
    """Compile `function` with sums in any order, so that several terms are added at once; x / 0 is not an error."""
    return _compiled(function, fastmath={"reassoc", "nsz"}, error_model="numpy")


def wake() -> None:
    """Let the compiler load its tables, which takes it half a second at the first call of a process."""
    jit(_twice)(1.0)


def _twice(value: float) -> float:
    return 2.0 * value


def _compiled(function: Function, **options: object) -> Function:
    import numba

    from virtualobserver.maths.kernel_files import keep_by_signature

    try:
        made = numba.njit(cache=True, nogil=True, **options)(function)
    except RuntimeError:  # no folder where the machine code could be kept
        return cast("Function", numba.njit(nogil=True, **options)(function))
    keep_by_signature(made)
    return cast("Function", made)


@cache
def _network(n: int, wanted: tuple[int, ...] | None) -> NDArray[np.int64]:
    """Return Batcher's odd-even merge sort for n values, without the comparisons that the wanted ranks do not need."""
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
