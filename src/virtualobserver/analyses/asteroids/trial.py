"""How the contract suite tries this analysis: two nights of a field in which no mover was found."""

from __future__ import annotations

from typing import Final

import numpy as np

from virtualobserver.data.contract import AnalysisContract
from virtualobserver.data.product import Product
from virtualobserver.data.table import Table

__all__ = ["CONTRACT"]

_FIELD: Final = (158.0, 9.0)
"""Degrees; opposite to the Sun at the end of February, where bodies go backwards."""
_FLOATS: Final = (
    "mjd", "ra", "dec", "ra_error", "dec_error", "flux", "flux_error", "x", "y", "rate", "rate_error", "pa", "chi2",
    "exptime", "snr",
)  # fmt: skip


def _noise(rng: np.random.Generator) -> list[Product[Table]]:
    """Return two tables without a row: what is no mover is no matter of this search."""
    columns = {name: np.zeros(0) for name in _FLOATS}
    columns |= {name: np.zeros(0, "U1") for name in ("track", "band")} | {"flags": np.zeros(0, np.int64)}
    place = {"OBS_LON": -2.566, "OBS_LAT": 37.983, "OBS_ELEV": 1530.0, "MPCCODE": "J75"}
    start = 57808.9 + rng.uniform(0, 0.02, 2)
    return [
        Product(
            Table(columns, {}, {
                "method": "link", "centre": list(_FIELD), **place,
                "epochs": (start[night] + night + np.arange(8) * 0.01).tolist(),
            }),
            role="tracks",
        )
        for night in range(2)
    ]  # fmt: skip


CONTRACT: Final = AnalysisContract(false_alarms=0.0, trials=20, noise=_noise)
"""Each mover is a row of somebody's table; none is made here."""
