"""Compiled weighted medians: references are sorted once, and every star weighs them in its own way."""

from __future__ import annotations

import numpy as np

from virtualobserver.maths.arrays import Array
from virtualobserver.maths.kernels import jit

__all__ = ["weighted_medians"]


@jit
def weighted_medians(ratio: Array, order: Array, weight: Array, fewest: int, out: Array) -> None:
    """Write the weighted median of the columns of `ratio` (references, m) for each row of `weight` (n, references).

    `order` (m, references) sorts each column. Between the two values beside half of the weight it is linear; with fewer
    than `fewest` values there is none.
    """
    n, count = weight.shape
    for k in range(n):
        for j in range(ratio.shape[1]):
            total, known = 0.0, 0
            for i in range(count):
                r = order[j, i]
                if np.isnan(ratio[r, j]):
                    break
                if weight[k, r] > 0:
                    total += weight[k, r]
                    known += 1
            if known < fewest:
                continue
            run, last, before = 0.0, 0.0, np.nan
            for i in range(count):
                r = order[j, i]
                w = weight[k, r]
                if w <= 0:
                    continue
                middle = run + 0.5 * w
                if middle >= 0.5 * total:
                    value = ratio[r, j]
                    if np.isnan(before):
                        out[k, j] = value
                    else:
                        out[k, j] = before + (value - before) * (0.5 * total - last) / (middle - last)
                    break
                run += w
                last, before = middle, ratio[r, j]
