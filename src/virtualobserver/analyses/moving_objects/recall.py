"""What part of injected movers is found, as numbers: by magnitude, rate and expected likelihood."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.data.table import Table
from virtualobserver.errors import NotEnoughData
from virtualobserver.maths.completeness import fit_completeness, per_square_degree, recall_bins

__all__ = ["false_alarms", "recall_facts", "strength_of"]

_BINS: Final = 6


def strength_of(truth: Table) -> str:
    """Return the column by which recall is told: ``mag`` where it is known, else ``likelihood``."""
    return "mag" if len(truth) and np.isfinite(truth["mag"]).all() else "likelihood"


def recall_facts(truth: Table, *, false: int, area: float) -> dict[str, Any]:
    """Return what goes into the properties of a night.

    Returns
    -------
    dict
        ``injected, found``; ``by_<mag|likelihood>`` and ``by_rate``: lists of ``low, high, injected, found, recall,
        wilson_low, wilson_high``; ``half`` with the fit ``eta0 / (1 + exp((m - m50) / width))`` where the data
        say where recall falls; ``false`` rows that are no mover put in, and those per square degree.
    """
    name = strength_of(truth)
    facts: dict[str, Any] = {"injected": len(truth), "found": int(truth["found"].sum()), "false": false}
    facts[f"by_{name}"] = _bins(truth[name], truth["found"])
    facts["by_rate"] = _bins(truth["rate"], truth["found"], even="log")
    facts["false_per_square_degree"] = false_alarms(false, area)
    sign = 1.0 if name == "mag" else -1.0  # strong ones are bright, but likely
    try:
        fit = fit_completeness(sign * truth[name], truth["found"])
    except NotEnoughData:
        facts["half"] = None
    else:
        facts["half"] = {
            "of": name, "eta0": fit.eta0, "m50": sign * fit.m50, "width": fit.width, "eta0_error": fit.eta0_error,
            "m50_error": fit.m50_error, "width_error": fit.width_error,
        }  # fmt: skip
    return facts


def false_alarms(number: int, area: float) -> dict[str, float]:
    """Return false alarms per square degree with their Poisson interval."""
    rate = per_square_degree(number, area)
    return {"rate": rate.rate, "low": rate.low, "high": rate.high}


def _bins(value: NDArray[Any], found: NDArray[Any], *, even: str = "") -> list[dict[str, float]]:
    low, high = float(np.min(value)), float(np.max(value))
    high = high if high > low else low + 1.0
    log = even == "log" and low > 0
    edges = np.geomspace(low, high, _BINS + 1) if log else np.linspace(low, high, _BINS + 1)
    edges[0], edges[-1] = low, high
    bins = recall_bins(value, found, edges)
    return [
        {
            "low": float(edges[k]), "high": float(edges[k + 1]), "injected": int(bins.injected[k]),
            "found": int(bins.found[k]), "recall": float(bins.recall[k]),
            "wilson_low": float(bins.interval.low[k]), "wilson_high": float(bins.interval.high[k]),
        }
        for k in range(_BINS)
        if bins.injected[k]
    ]  # fmt: skip
