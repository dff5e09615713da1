"""How good each frame of a night is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.starcurves.night import Night
from virtualobserver.data.handles import Handle
from virtualobserver.data.product import Product
from virtualobserver.data.table import Table
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.images.zeropoint import transparency
from virtualobserver.maths.lightcurves.ensemble import Ensemble
from virtualobserver.typing import RecordDict, Value

__all__ = ["night_table"]

_UNITS: Final = {
    "mjd": "d", "exptime": "s", "fwhm": "pix", "sky": "electron", "zero_point": "mag", "limiting_magnitude": "mag",
}  # fmt: skip
_ZERO: Final = ("zero_point", "limiting_magnitude")


def night_table(night: Night, curves: Ensemble, products: Sequence[Handle[Table]]) -> Product[Table]:
    """Return one row a frame, role ``night``.

    Columns ``frame, mjd, exptime, fwhm, sky, zero_point, limiting_magnitude, correction, transparency, clouded``:
    the correction is the factor by which all stars were too bright, the transparency that of the zero point
    against the night's median, or the correction where no frame has a zero point. The statistics hold the
    night's medians.
    """
    frames = night.frames
    zero = _zero_points(night, products)
    columns: dict[str, Array] = {
        "frame": np.array([frame.unit.rpartition("/")[2] for frame in frames], dtype=np.str_),
        "mjd": night.mjd,
        "exptime": _numbers([frame.meta.get("exptime") for frame in frames]),
        "fwhm": _numbers([frame.header.get("FWHM") for frame in frames]),
        "sky": _numbers([frame.header.get("SKY") for frame in frames]),
        **zero,
        "correction": curves.correction,
        "transparency": transparency(zero["zero_point"]),
        "clouded": curves.clouded,
    }
    if not np.isfinite(zero["zero_point"]).any():
        columns["transparency"] = curves.correction
    meta = frames[0].meta
    band, name = str(meta.get("band") or ""), str(frames[0].header.get("NIGHT") or "")
    statistics: RecordDict = {key: _median(columns[key]) for key in ("limiting_magnitude", "fwhm", "sky")}
    statistics |= {"night": name, "clouded": int(curves.clouded.sum())}
    table = Table(columns, _UNITS, {"night": name, "band": band})
    return Product(table, role="night", series=name, band=band, statistics=statistics)


# --- inside -----------------------------------------------------------------------------------------------


def _zero_points(night: Night, products: Sequence[Handle[Table]]) -> dict[str, NDArray[np.float64]]:
    """Return zero points and limiting magnitudes of the frames, NaN where there are none."""
    found = {name: np.full(len(night.frames), np.nan) for name in _ZERO}
    place = {(frame.unit, frame.mjd): number for number, frame in enumerate(night.frames)}
    for handle in products:
        if handle.info.role != "zeropoint":
            continue
        table = handle.load()
        number = place.get((handle.info.unit, float(table["mjd"][0])))
        for name in _ZERO if number is not None else ():
            if name in table:
                found[name][number] = table[name][0]
    return found


def _numbers(values: Sequence[Value]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else float(value) for value in values])


def _median(values: NDArray[np.float64]) -> float | None:
    good = values[np.isfinite(values)]
    return float(np.median(good)) if len(good) else None
