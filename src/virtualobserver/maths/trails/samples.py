"""What is known of trails when their light is extracted: one row a trail, and one sample a pixel along each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.conventions import FLAG_EDGE
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.trails.profile import TransverseProfile
from virtualobserver.maths.trails.sky import TrailSky
from virtualobserver.maths.trails.track import TrackModel

__all__ = ["TrailSamples", "TrailTotals"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
ACROSS: Final = ("shift", "shift_error", "width", "width_error")
"""Columns of `TrailSamples.across`."""


@dataclass(frozen=True, eq=False)
class TrailTotals:
    """One row a trail, shape (n,).

    Parameters
    ----------
    flux, flux_error
        Mean over the exposure, electrons/s; NaN where too little of a trail is left.
    snr
        Flux over its error.
    x_start, y_start, x_end, y_end
        Pixels.
    covered
        Share of the trail's light whose columns were measured.
    isolation
        Light of all neighbours within a length and 2.5 FWHM along, and 2.5 FWHM across, over the trail's own.
    mask_counts
        Pixels of the trail that have each bit of the mask, shape (n, 30).
    """

    flux: FloatArray
    flux_error: FloatArray
    snr: FloatArray
    x_start: FloatArray
    y_start: FloatArray
    x_end: FloatArray
    y_end: FloatArray
    covered: FloatArray
    isolation: FloatArray
    mask_counts: IntArray


@dataclass(frozen=True, eq=False)
class TrailSamples:
    """Samples of n trails, m a trail: shape (n, m). Along a trail, a sample is a pixel.

    Parameters
    ----------
    time
        Seconds since the beginning of the exposure: of the light of the sample, not of its pixel's middle alone.
    along
        Pixels from the start of the trail.
    flux, flux_error
        Electrons/s of the star, that is electrons of the column times the speed in pixels/s; NaN where it is lost.
    sky
        Electrons per pixel.
    response
        Share of a column that a steady star fills: 1, but at the ends.
    flags
        Bits of `conventions.FLAG_*`.
    phase
        Of the sample within the pixels of a trail that starts at 0, -0.5 to 0.5.
    flat
        At least 1.5 FWHM from both ends.
    totals
        One row a trail.
    background
        Sky, one row a trail.
    profile
        Across the trails.
    track
        Of the chip.
    own_cosmic_rays
        Whether the mask's cosmic rays and streaks were not believed on trails, and looked for by the model instead.
    across
        Shape (4, n, m): pixels by which the light of a sample lies sideways of the star, its error, by how much it is
        wider than the profile (logarithm), its error: what another source on top does, and no event of the star. None
        if it was not measured.
    """

    time: FloatArray
    along: FloatArray
    flux: FloatArray
    flux_error: FloatArray
    sky: FloatArray
    response: FloatArray
    flags: IntArray
    phase: FloatArray
    flat: NDArray[np.bool_]
    totals: TrailTotals
    background: TrailSky
    profile: TransverseProfile
    track: TrackModel
    own_cosmic_rays: bool
    across: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.flux)

    def rows(self) -> dict[str, Array]:
        """Return one row a sample: star (row of the catalogue), time, flux, flux_error, sky, flags, phase, flat.

        And its column from the first of the trail, along and response, and shift and width with their errors if they
        were measured. Samples of stars without a place, and samples off the chip, are left out.
        """
        keep = np.isfinite(self.along) & (np.isfinite(self.flux) | (self.flags & FLAG_EDGE == 0))
        star, column = np.nonzero(keep)
        names = ("time", "flux", "flux_error", "sky", "flags", "phase", "flat", "along", "response")
        found = {"star": star, "column": column} | {name: getattr(self, name)[keep] for name in names}
        if self.across is not None:
            found |= {name: values[keep] for name, values in zip(ACROSS, self.across, strict=True)}
        return found
