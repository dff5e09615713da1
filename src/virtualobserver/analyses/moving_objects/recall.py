"""What part of injected movers is found: by magnitude or expected likelihood, and by rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.data.table import Table
from virtualobserver.errors import NotEnoughData
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.completeness import fit_completeness, per_square_degree, recall_bins
from virtualobserver.typing import RecordDict

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["false_alarms", "recall_table", "strength_of", "truth_of"]

_BINS: Final = 6  # chosen: a few injections each with the hundred or so that people ask for
_COLUMNS: Final = ("mag", "likelihood", "rate", "found")


def truth_of(outcomes: pd.DataFrame) -> Table:
    """Return what the recall is told from: ``mag, likelihood, rate, found`` of all injections."""
    return Table({n: outcomes[n].to_numpy(dtype=bool if n == "found" else float) for n in _COLUMNS})


def strength_of(truth: Table) -> str:
    """Return the column by which recall is told: ``mag`` where it is known, else ``likelihood``."""
    return "mag" if len(truth) and np.isfinite(truth["mag"]).all() else "likelihood"


def recall_table(truth: Table) -> pd.DataFrame:
    """Return the part found of all movers, and in bins of magnitude (or expected likelihood) and of rate.

    Returns
    -------
    pandas.DataFrame
        One row a bin: ``of`` (``all``, ``mag`` or ``likelihood``, ``rate``), ``low, high`` (the bin), ``injected,
        found, efficiency, efficiency_low, efficiency_high`` (Wilson), and in the row ``all`` ``half, half_error``:
        where the fit ``eta0 / (1 + exp((m - m50) / width))`` falls to half, if the data say where.
    """
    import pandas as pd

    name = strength_of(truth)
    rows = [_whole(truth, name), *_bins(name, truth), *_bins("rate", truth, even="log")]
    return pd.DataFrame(rows)


def _whole(truth: Table, name: str) -> RecordDict:
    found = truth["found"]
    (row,) = _rows("all", np.zeros(len(found)), found, np.array([0.0, 1.0]))
    row |= {"low": float(truth[name].min()), "high": float(truth[name].max())}
    sign = 1.0 if name == "mag" else -1.0  # strong ones are bright, but likely
    try:
        fit = fit_completeness(sign * truth[name], found)
    except NotEnoughData:
        return row
    return row | {"half": sign * fit.m50, "half_error": fit.m50_error}


def false_alarms(number: int, area: float) -> dict[str, float]:
    """Return false alarms per square degree with their Poisson interval."""
    rate = per_square_degree(number, area)
    return {"rate": rate.rate, "low": rate.low, "high": rate.high}


def _bins(name: str, truth: Table, *, even: str = "") -> list[RecordDict]:
    value = truth[name]
    low, high = float(np.min(value)), float(np.max(value))
    high = high if high > low else low + 1.0
    log = even == "log" and low > 0
    edges = np.geomspace(low, high, _BINS + 1) if log else np.linspace(low, high, _BINS + 1)
    edges[0], edges[-1] = low, high
    return _rows(name, value, truth["found"], edges)


def _rows(name: str, value: Array, found: Array, edges: NDArray[np.float64]) -> list[RecordDict]:
    bins = recall_bins(value, found, edges)
    return [
        {
            "of": name, "low": float(edges[k]), "high": float(edges[k + 1]), "injected": int(bins.injected[k]),
            "found": int(bins.found[k]), "efficiency": float(bins.recall[k]),
            "efficiency_low": float(bins.interval.low[k]), "efficiency_high": float(bins.interval.high[k]),
        }
        for k in range(len(edges) - 1)
        if bins.injected[k]
    ]  # fmt: skip
