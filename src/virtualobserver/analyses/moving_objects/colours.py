"""Colours of a mover: the mean magnitude in one aperture in each band, against a reference band."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.moving_objects.fieldlists import FieldLists
from virtualobserver.typing import RecordDict

__all__ = ["colours_of"]


def colours_of(field: FieldLists, rows: NDArray[np.int64], reference: str | None) -> RecordDict:
    """Return the aperture magnitudes of a mover by band, and its colours.

    Parameters
    ----------
    rows
        Sources of the mover.
    reference
        Band against which colours are told; None = nothing is asked for.

    Returns
    -------
    dict
        ``aperture_mags``: band to magnitude (of one count per second where there is no zero point) and error, each the
        weighted mean of its epochs; ``colours``: ``band-reference`` to colour and error, for bands with both.
    """
    if reference is None:
        return {}
    bands = np.array(field.bands)[field.lists.image[rows]]
    mag, error = (field.columns[name][rows] for name in ("instrumental", "aperture_error"))
    if field.unit == "uJy":
        mag, error = (field.columns[name][rows] for name in ("mag", "mag_error"))
    means: dict[str, list[float]] = {}
    for band in sorted(set(bands.tolist())):
        good = (bands == band) & np.isfinite(mag + error) & (error > 0)
        if good.any():
            weight = error[good] ** -2.0
            means[band] = [float(np.average(mag[good], weights=weight)), float(weight.sum() ** -0.5)]
    colours = {}
    if reference in means:
        zero, spread = means[reference]
        colours = {
            f"{band}-{reference}": [value - zero, float(np.hypot(noise, spread))]
            for band, (value, noise) in means.items()
            if band != reference
        }
    return {"aperture_mags": means, "colours": colours}
