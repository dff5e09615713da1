"""Features of single spectra: the peaks of the matched filter, one subtracted after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.exocomets.matched.filter import Bank, Filtered, LineChunk, exclusion, joint_snr

__all__ = ["HIT", "strongest_hits"]

FloatArray = NDArray[np.float64]
SingleArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

HIT: Final = np.dtype(
    [
        ("row", "i8"),
        ("template", "i8"),
        ("v", "f8"),
        ("fwhm", "f8"),
        ("snr", "f8"),
        ("snr_k", "f8"),
        ("snr_h", "f8"),
        ("depth_k", "f8"),
        ("depth_h", "f8"),
        ("error_k", "f8"),
        ("error_h", "f8"),
        ("ratio", "f8"),
        ("misfit", "f8"),
    ]
)
"""One peak of the filter in one spectrum: velocities in km/s, depths as fractions of the star's light.

``ratio`` is the depth in H over that in K, unbounded; ``misfit`` the chi^2 that the bounds on it cost.
"""


def strongest_hits(
    bank: Bank,
    chunks: Sequence[LineChunk],
    filtered: Filtered,
    *,
    least: float,
    subtract: float,
    most: int,
) -> NDArray[np.void]:
    """Return the absorption features of each spectrum, one after the other, the strongest first.

    Parameters
    ----------
    least
        Lowest S/N of a hit.
    subtract
        From this S/N on a feature is subtracted and the spectrum filtered anew, so that a weaker one beside it
        is measured rightly; below, its surroundings are only left out.
    most
        Most features of one spectrum.

    Notes
    -----
    What a subtraction leaves behind of a feature that is no Gaussian is not taken for another one: a hit within
    1.5 widths of a stronger one needs a fifth of its S/N.
    """
    work = _Work(bank, chunks, filtered)
    taken: list[NDArray[np.void]] = []
    rows = np.arange(work.snr.shape[0])
    for turn in range(most):
        best = np.argmax(work.snr[rows], axis=1)
        keep = work.snr[rows, best] >= least
        rows, best = rows[keep], best[keep]
        if rows.size == 0:
            break
        strong = work.snr[rows, best] >= subtract
        if strong.any():
            best[strong] = work.split(rows[strong], best[strong])
        hits = work.measured(rows, best)
        taken.append(hits[_real_second(hits, taken)])
        if turn == most - 1:
            break
        work.close(rows, best)
        if strong.any():
            work.subtract(hits[strong])
    return np.concatenate(taken) if taken else np.zeros(0, HIT)


class _Work:
    """The state of an iterative subtraction: residuals, S/N, and places that are done with."""

    def __init__(self, bank: Bank, chunks: Sequence[LineChunk], filtered: Filtered) -> None:
        self.bank = bank
        self.weighted = [chunk.reference * chunk.weight for chunk in chunks]
        self.chunks = chunks
        self.residuals = [chunk.residual.copy() for chunk in chunks]
        self.numerator = filtered.numerator.copy()
        self.denominator = filtered.denominator
        self.snr = filtered.snr.copy()
        self.closed = np.zeros(self.snr.shape, dtype=bool)
        # What the floor left of numerators and denominators; its root is what it left of the S/N.
        self.shrink = np.clip(1.0 - bank.floor[:, None, :] * filtered.denominator, 1e-4, 1.0)
        self.factor = (1.0 / np.sqrt(self.shrink)).min(axis=0)

    def measured(self, rows: IntArray, best: IntArray) -> NDArray[np.void]:
        """Return the hits of the given templates."""
        current = Filtered(self.numerator, self.denominator, self.snr)
        return _measured(self.bank, current, rows, best)

    def close(self, rows: IntArray, best: IntArray) -> None:
        """Look no more at these places."""
        self.closed[rows] |= exclusion(self.bank, best)
        self.snr[rows] = np.where(self.closed[rows], -np.inf, self.snr[rows])

    def subtract(self, hits: NDArray[np.void]) -> None:
        """Take features out of the residuals and filter these spectra anew."""
        rows = hits["row"]
        residuals, numerator = self._without(hits)
        for position, residual in enumerate(residuals):
            self.residuals[position][rows] = residual
        self.numerator[:, rows] = numerator
        again = joint_snr(numerator, self.denominator[:, rows])
        self.snr[rows] = np.where(self.closed[rows], -np.inf, again)

    def _without(self, hits: NDArray[np.void]) -> tuple[list[SingleArray], SingleArray]:
        rows = hits["row"]
        residuals, numerators = [], []
        for position, chunk in enumerate(self.chunks):
            depth = hits["depth_k" if position == 0 else "depth_h"]
            shape = self.bank.lines[position][:, hits["template"]].T
            taken = (np.nan_to_num(depth)[:, None] * shape).astype(np.float32) * chunk.reference[rows]
            residual = self.residuals[position][rows] - taken
            scale = (1.0 / self.bank.inflation[position]).astype(np.float32)
            residuals.append(residual)
            full = (self.weighted[position][rows] * residual) @ self.bank.lines[position] * scale
            numerators.append(full * self.shrink[position][rows])
        return residuals, np.stack(numerators)

    def split(self, rows: IntArray, best: IntArray) -> IntArray:
        """Return the templates to start with: a narrower one where two comets look like a wide one.

        Two features, the first at most half as wide as `best`, have to explain more than `best` and whatever
        else is there; a gain in chi^2 of 9 decides. That chi^2 leaves out the floors of the widths: at a high S/N a
        few per cent between them would outweigh any shape.
        """
        # Which width fits best is a matter of chi^2 too.
        here = np.abs(self.bank.v - self.bank.v[best][:, None]) < 0.5 * self.bank.fwhm[best][:, None]
        best = np.argmax(np.where(here, self.snr[rows] * self.factor[rows], -np.inf), axis=1)
        wide = self.bank.fwhm[best]
        near = np.abs(self.bank.v - self.bank.v[best][:, None]) < wide[:, None]
        narrow = near & (self.bank.fwhm <= 0.51 * wide[:, None])  # half, with room for rounding
        own = np.where(narrow, self.snr[rows], -np.inf)
        other = np.argmax(own, axis=1)
        height = own[np.arange(rows.size), other]
        # Less than half of the S/N each: no two of them can do better.
        worth = np.flatnonzero(height > 0.5 * self.snr[rows, best])
        if worth.size == 0:
            return best
        gains = [self._gain(rows[worth], start[worth], near[worth]) for start in (best, other)]
        result = best.copy()
        better = worth[gains[1] > gains[0] + 9.0]
        result[better] = other[better]
        return result

    def _gain(self, rows: IntArray, start: IntArray, near: BoolArray) -> FloatArray:
        hits = self.measured(rows, start)
        _, numerator = self._without(hits)
        left = np.where(near & ~self.closed[rows], joint_snr(numerator, self.denominator[:, rows]), 0.0)
        second = np.clip((left * self.factor[rows]).max(axis=1), 0.0, None).astype(np.float64)
        return np.asarray((hits["snr"] * self.factor[rows, start]) ** 2 + second**2)


def _real_second(hits: NDArray[np.void], earlier: Sequence[NDArray[np.void]]) -> BoolArray:
    keep = np.ones(hits.size, dtype=bool)
    for others in earlier:
        position = {int(row): number for number, row in enumerate(others["row"])}
        for number, hit in enumerate(hits):
            at = position.get(int(hit["row"]))
            if at is not None:
                near = abs(hit["v"] - others["v"][at]) < 1.5 * others["fwhm"][at]
                # chosen: what a wrong shape leaves of a strong feature is below a fifth of it
                keep[number] &= not (near and hit["snr"] < 0.2 * others["snr"][at])
    return keep


def _measured(bank: Bank, filtered: Filtered, rows: IntArray, best: IntArray) -> NDArray[np.void]:
    numerator, denominator, snr = filtered.numerator, filtered.denominator, filtered.snr
    hits = np.zeros(rows.size, HIT)
    hits["row"], hits["template"] = rows, best
    hits["snr"], hits["fwhm"] = snr[rows, best], bank.fwhm[best]
    hits["v"] = _refined(bank, snr, rows, best)
    n = numerator[:, rows, best].astype(np.float64)
    d = denominator[:, rows, best].astype(np.float64)
    with np.errstate(all="ignore"):
        own = np.where(d > 0, n / np.sqrt(d), np.nan)
        depth, error = np.where(d > 0, n / d, np.nan), np.where(d > 0, 1.0 / np.sqrt(d), np.nan)
        hits["snr_k"], hits["depth_k"], hits["error_k"] = own[0], depth[0], error[0]
        for name in ("snr_h", "depth_h", "error_h", "ratio", "misfit"):
            hits[name] = np.nan
        if len(n) > 1:
            hits["snr_h"], hits["depth_h"], hits["error_h"] = own[1], depth[1], error[1]
            hits["ratio"] = depth[1] / depth[0]
            # S/N^2 is what the bounds leave of the free gain less what they cost of it.
            hits["misfit"] = np.clip(0.5 * (np.nansum(own**2, axis=0) - hits["snr"] ** 2), 0.0, None)
    return hits


def _refined(bank: Bank, snr: SingleArray, rows: IntArray, best: IntArray) -> FloatArray:
    """Return the centre between grid points: the vertex of the parabola through three centres of one width."""
    last = bank.v.size - 1
    left, right = np.maximum(best - 1, 0), np.minimum(best + 1, last)
    inner = (bank.width[left] == bank.width[best]) & (bank.width[right] == bank.width[best])
    inner &= (left < best) & (right > best)
    with np.errstate(all="ignore"):
        a, b, c = (snr[rows, at].astype(np.float64) for at in (left, best, right))
        shift = 0.5 * (a - c) / (a - 2.0 * b + c)
    shift = np.where(inner & np.isfinite(shift) & (np.abs(shift) <= 1.0), shift, 0.0)
    spacing = np.where(inner, bank.v[right] - bank.v[best], 0.0)
    return np.asarray(bank.v[best] + shift * spacing)
