"""Tables as a user might have them, for demonstrations and tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from virtualobserver.conventions import MJD_ZERO_JD
from virtualobserver.maths.times import offline_astropy
from virtualobserver.observatories.folder.curves import Layout

if TYPE_CHECKING:
    from virtualobserver.observatories.folder.settings import FolderSettings

__all__ = ["table_of"]

_EPOCHS: Final = 60
"""In each band; few, as it is an example."""
_NOISE: Final = 0.01
"""Of the flux; a good photometer."""


def table_of(settings: FolderSettings, rng: np.random.Generator) -> bytes:
    """Return a CSV table of a quiet star in two bands, in the columns and times that the settings name."""
    layout = Layout.of(settings)
    names = {what: layout.names.get(what, what) for what in ("time", "flux", "flux_error", "band", "quality")}
    names["time"] = layout.names.get("time", "mjd")
    mjd = np.sort(rng.uniform(58000.0, 58200.0, _EPOCHS))
    lines = [",".join(names.values())]
    for band in ("g", "r"):
        flux = rng.normal(1.0, _NOISE, _EPOCHS)
        flags = rng.random(_EPOCHS) < 0.02
        for time, value, flag in zip(_told(mjd, layout), flux.tolist(), flags.tolist(), strict=True):
            lines.append(f"{time},{value:.6f},{_NOISE},{band},{int(flag)}")
    return ("\n".join(lines) + "\n").encode()


def _told(mjd: np.ndarray[tuple[int], np.dtype[np.float64]], layout: Layout) -> list[str]:
    how = layout.time
    if how.format == "iso":
        with offline_astropy() as (_, time_class, _):
            return [str(text) for text in time_class(mjd, format="mjd", scale=how.scale or "utc").isot]
    zero = how.zero - (MJD_ZERO_JD if how.format == "jd" else 0.0)
    return [f"{value:.7f}" for value in (mjd - zero).tolist()]
