"""Light along trails: one sample a pixel, each with its time and its error, for all stars of a chip at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from virtualobserver.conventions import (
    FLAG_ARCHIVE,
    FLAG_BACKGROUND,
    FLAG_COSMIC_RAY,
    FLAG_EDGE,
    FLAG_NOT_FINITE,
    FLAG_SATURATED,
    MASK_COSMIC_RAY,
    MASK_NO_DATA,
    MASK_SATURATED,
)
from virtualobserver.errors import DataError
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.trails.profile import TransverseProfile, measure_profile
from virtualobserver.maths.trails.sky import WIDTH, TrailSky, good_pixels, trail_sky
from virtualobserver.maths.trails.track import TrackModel, line_spread

__all__ = ["MODES", "TrailSamples", "TrailTotals", "extract_trails", "model_image"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
MODES: Final = ("psf", "box", "joint")
COVERED: Final = 0.7
"""Of the profile's weight that must lie on good pixels: with less, a column rests on the wings of its star."""
BEYOND: Final = 2.0
"""FWHM beyond the ends of a trail that are sampled: all of the rise and the fall."""
FLAT: Final = 1.5
"""FWHM from an end, from which on a trail has 0.9998 of its light."""
HALF: Final = 1.5
"""FWHM across to each side that are fitted: 0.9996 of a Gaussian's light."""
ALONE: Final = 0.02
"""Light of neighbours over a trail's own, up to which its profile is that of one star."""
BRIGHT: Final = 20.0
"""S/N of a column, from which on a trail shows the profile, and the air."""
SUSPECT: Final = 5.0
"""Share of masked pixels on trails over that of all pixels, from which on trails were taken for cosmic rays or streaks
(pipelines do that to star trails)."""
_CLEAR: Final = 0.3
"""Of a trail, from which on its own columns make a better total than all with those shared with another star."""
_LEAST: Final = 0.1
"""Of a trail's light that must be measured, or it has no total: a pulse would be all of it."""
_HABIT: Final = 5
"""Trails that must be masked for it to be what the pipeline does, and not a few real cosmic rays."""
SHARP: Final = 6.0
"""Noise of a pixel by which a cosmic ray stands above trail and sky: one in 1e9 by chance."""


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

    def __len__(self) -> int:
        return len(self.flux)

    def rows(self) -> dict[str, Array]:
        """Return one row a sample: star (row of the catalogue), time, flux, flux_error, sky, flags, phase, flat.

        And its column from the first of the trail, along and response. Samples of stars without a place, and samples
        off the chip, are left out.
        """
        keep = np.isfinite(self.along) & (np.isfinite(self.flux) | (self.flags & FLAG_EDGE == 0))
        star, column = np.nonzero(keep)
        names = ("time", "flux", "flux_error", "sky", "flags", "phase", "flat", "along", "response")
        return {"star": star, "column": column} | {name: getattr(self, name)[keep] for name in names}


def extract_trails(
    image: Array,
    variance: Array,
    track: TrackModel,
    x: ArrayLike,
    y: ArrayLike,
    *,
    fwhm: float,
    mask: Array | None = None,
    mode: str = "psf",
    profile: TransverseProfile | None = None,
    expected: ArrayLike | None = None,
    split: int | None = None,
    scintillation: float = 0.0,
    suspects: int = MASK_COSMIC_RAY,
    inner: float | None = None,
    width: float = WIDTH,
    keep_annulus: bool = False,
) -> TrailSamples:
    """Extract the light curves of all stars of a chip.

    A column is what lies within half a pixel along the track, whatever its angle: each pixel is used as it is, once
    a trail, so that samples do not share noise. Its light is that of a linear fit of the profile over the local sky,
    pixels weighed by the noise that the model of the trail gives them.

    Parameters
    ----------
    image
        Shape (ny, nx), electrons, sky not subtracted; of any kind of number.
    variance
        Of its pixels, electrons²; its median beside a trail is the noise of the sky and the amplifier, the light of
        stars is added from the model.
    track
        Of the chip.
    x, y
        Of all stars when the shutter opens, pixels, shape (n,).
    fwhm
        Expected of the image of a star, pixels; the true one is measured if five trails are bright and alone.
    mask
        Bits of `conventions.MASK_*`, 0 for a good pixel.
    mode
        `psf` fits each trail alone, `joint` all that overlap together, `box` sums 11 rows and divides by the share
        of the profile in them.
    profile
        Across the trails, if it is known already.
    expected
        Electrons of each trail by the catalogue, for what is left out of the sky; measured by default.
    split
        First column of the second amplifier.
    scintillation
        Relative, of one sample; see `noise.scintillation`.
    suspects
        Bits of the mask that a pipeline may have set because it took a trail for a cosmic ray or a streak.
    inner, width
        Of the ring of sky; see `trail_sky`.
    keep_annulus
        Keep the pixels of the sky.

    Raises
    ------
    DataError
        If shapes differ, the mode is unknown or the FWHM is not above 0.
    """
    px, py = (np.atleast_1d(np.asarray(part, float)) for part in (x, y))
    if mode not in MODES:
        msg = f"mode of an extraction must be one of {', '.join(MODES)}, not {mode!r}"
        raise DataError(msg)
    good, codes = good_pixels(image, variance, mask), _codes(image, mask)
    own = bool(_suspected(codes, suspects, track, px, py))
    if own:
        _believe(good, codes, image, variance, suspects, track, px, py, fwhm)
    frame = _Frame(_plain(image), good, codes, track, px, py, scintillation)
    clean = np.where(good, 0, 1).astype(np.uint8)
    rough, light, sky = TransverseProfile(fwhm) if profile is None else profile, expected, None
    for turn in range(2):  # the second time with the light of the neighbours known
        sky = trail_sky(
            frame.image, variance, track, px, py, fwhm=rough.fwhm, mask=clean, expected=light, split=split,
            inner=inner, width=width,
            keep_annulus=keep_annulus and bool(turn),
        )  # fmt: skip
        first = _Columns(frame, sky, rough, np.zeros((len(px), 1)))
        flux, _, _ = first.total()
        light = np.maximum(np.nan_to_num(flux), 0.0) * track.exptime if expected is None else expected
        if profile is None and not turn:
            rough = _profile_of(frame, sky, first, flux, fwhm)
    assert sky is not None
    steady = flux[:, None] * first.response / track.speed
    if own:
        for _ in range(2):
            first = _Columns(frame, sky, rough, steady)
            if not _reject(frame, sky, rough, first):
                break
    first = _Columns(frame, sky, rough, first.smooth(steady))
    if mode == "joint":
        from virtualobserver.maths.trails.joint import fit_together

        fit_together(frame, sky, rough, first)
    return first.samples(rough, sky, own=own, box=mode == "box")


def model_image(
    shape: tuple[int, int], samples: TrailSamples, *, flux: ArrayLike | None = None, reach: float = 4.0
) -> NDArray[np.float32]:
    """Return the light of all trails of a chip, electrons, without sky.

    Parameters
    ----------
    shape
        Rows and columns.
    samples
        Of the chip; what is not measured in them is what their mean is.
    flux
        Shape (n, m), electrons/s, in place of the measured samples, such as mean times trend: then what only one
        sample shows stays on the frame.
    reach
        FWHM across to each side.

    Raises
    ------
    DataError
        If the fluxes have another shape than the samples.
    """
    values = samples.flux if flux is None else np.asarray(flux, float)
    if values.shape != samples.flux.shape:
        msg = f"fluxes of a model have the shape of the samples, {samples.flux.shape}, not {values.shape}"
        raise DataError(msg)
    mean = np.nan_to_num(samples.totals.flux)[:, None] * samples.response
    light = np.where(np.isfinite(values), values, mean) / samples.track.speed
    plane = np.zeros(shape, np.float32)
    ux, uy = _direction(samples.track)
    totals, half = samples.totals, reach * samples.profile.fwhm
    from virtualobserver.maths.trails.extract_kernel import FINE, add_trails

    grid, first = _grid(samples.track, totals.x_start, totals.y_start, samples.profile.fwhm)
    shift = samples.profile.shift_at(grid)
    table = samples.profile.table(half, FINE)
    add_trails(plane, totals.x_start, totals.y_start, ux, uy, first, shift, table, half, light)
    return plane


# --- inside -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Frame:
    image: Array
    good: NDArray[np.bool_]
    codes: Array
    track: TrackModel
    x: FloatArray
    y: FloatArray
    scintillation: float


def _plain(plane: Array) -> Array:
    return np.ascontiguousarray(plane, np.float32)


def _codes(image: Array, mask: Array | None) -> NDArray[np.int32]:
    return np.zeros(np.shape(image), np.int32) if mask is None else np.array(mask, np.int32)


def _direction(track: TrackModel) -> tuple[float, float]:
    vx, vy = track.vector
    return vx / track.speed, vy / track.speed


def _grid(track: TrackModel, x: FloatArray, y: FloatArray, fwhm: float) -> tuple[FloatArray, FloatArray]:
    """Return where the samples are along trails, shape (n, m), and the first: at the middle of columns of pixels."""
    ux, uy = _direction(track)
    start, step = (x, ux) if abs(ux) >= abs(uy) else (y, uy)
    middle = (np.rint(start + step * track.length / 2) - start) / step
    first = middle - np.floor(middle + BEYOND * fwhm)
    count = int(track.length + 2 * BEYOND * fwhm)
    return first[:, None] + np.arange(count), first


def _suspected(codes: Array, suspects: int, track: TrackModel, x: FloatArray, y: FloatArray) -> bool:
    """Return whether trails have more of the suspect bits than the frame, by far more than chance."""
    hit = codes & suspects != 0
    known = np.isfinite(x) & np.isfinite(y)
    if not hit.any() or not known.any():
        return False
    (ux, uy), steps = _direction(track), np.arange(0, track.length)
    cols = np.rint(x[known][:, None] + ux * steps).astype(int)
    rows = np.rint(y[known][:, None] + uy * steps).astype(int)
    inside = (rows >= 0) & (rows < hit.shape[0]) & (cols >= 0) & (cols < hit.shape[1])
    on = np.zeros(rows.shape, np.bool_)
    on[inside] = hit[rows[inside], cols[inside]]
    # three in a row of pixels are no hit by chance, and one trail no habit of a pipeline
    many = np.sum(on.sum(axis=1) >= 3) >= _HABIT
    return bool(many and on.sum() / inside.sum() > SUSPECT * np.mean(hit))


def _on_trails(
    shape: tuple[int, ...], track: TrackModel, x: FloatArray, y: FloatArray, width: float
) -> NDArray[np.bool_]:
    from virtualobserver.maths.trails.sky_kernel import paint

    plane = np.zeros(shape, np.bool_)
    paint(plane, x, y, *_direction(track), track.length, np.full(len(x), width))
    return plane


def _believe(  # noqa: PLR0917
    good: NDArray[np.bool_], codes: Array, image: Array, variance: Array, suspects: int, track: TrackModel,
    x: FloatArray, y: FloatArray, fwhm: float,
) -> None:  # fmt: skip
    """Take the suspect bits from trails, and make good pixels of those that had no other."""
    trail = _on_trails(codes.shape, track, x, y, HALF * fwhm)
    codes[trail] &= ~np.int32(suspects)
    freed = trail & (codes == 0) & np.isfinite(image) & np.isfinite(variance)
    good |= freed & (np.asarray(image) != 0)


class _Columns:
    """Columns of all trails, fitted under one model of their light."""

    def __init__(self, frame: _Frame, sky: TrailSky, profile: TransverseProfile, light: FloatArray) -> None:
        from virtualobserver.maths.trails.extract_kernel import FINE, fit_columns

        self.frame, self.track, self.profile = frame, frame.track, profile
        self.along, self.first = _grid(frame.track, frame.x, frame.y, profile.fwhm)
        n, m = self.along.shape
        self.ground = np.stack(
            [sky.value, sky.gradient_x, sky.gradient_y, sky.step, sky.variance, sky.x, sky.y], axis=1
        )
        self.split, self.half = sky.split, max(HALF * profile.fwhm, 5.0)
        self.shift = profile.shift_at(self.along)
        self.table = profile.table(self.half + 2, FINE)
        self.light = np.ascontiguousarray(np.broadcast_to(np.nan_to_num(light), (n, m)))
        self.planes = np.full((8, n, m), np.nan)
        self.bits = np.zeros((n, m), np.int64)
        self.counts = np.zeros((n, 32), np.int64)
        fit_columns(
            frame.image, frame.good, frame.codes, self.ground, self.split, frame.x, frame.y,
            *_direction(frame.track), self.first, self.shift, self.table, self.half, self.light, COVERED, self.planes,
            self.bits, self.counts,
        )  # fmt: skip
        self.flux, self.variance, self.covered = self.planes[:3]
        self.spoilt = np.zeros((n, m), np.bool_)
        # where the light of a column is: at a slant its pixels are not spread evenly about its middle
        self.place = np.where(np.isfinite(self.planes[3]), self.planes[3], self.along)
        length = frame.track.length
        self.response = np.clip(np.nan_to_num(length * line_spread(self.place, length, profile.sigma)), 0, 1)
        lost = self.covered < COVERED
        self.flux[lost] = self.variance[lost] = np.nan

    def total(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return electrons/s of trails, their error, and the share of their light in measured columns.

        The weights are the shares of the columns: those of the photons would follow what the air does to them.
        """
        known = np.isfinite(self.flux)
        clear = (
            known & ~self.spoilt
        )  # a star beside another has its total from where the other is not, if it can
        enough = np.sum(clear * self.response, axis=1) > _CLEAR * self.track.length
        known &= ~self.spoilt | ~enough[:, None]
        weight = np.where(known, self.response, 0.0)
        norm, share = np.sum(weight**2, axis=1), np.sum(weight, axis=1) / self.track.length
        with np.errstate(divide="ignore", invalid="ignore"):
            flux = np.sum(weight * np.where(known, self.flux, 0), axis=1) / norm * self.track.speed
            error = np.sqrt(np.sum(weight**2 * np.where(known, self.variance, 0), axis=1)) / norm
        bad = share < _LEAST
        flux[bad] = np.nan
        error[bad] = np.nan
        return flux, error * self.track.speed, share

    def smooth(self, steady: FloatArray) -> FloatArray:
        """Return the light that columns have by their neighbours, as far as a star's image reaches."""
        reach = int(np.ceil(2 * self.profile.sigma))
        kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / self.profile.sigma) ** 2)
        known = np.isfinite(self.flux)
        top, base = np.zeros_like(steady), np.zeros_like(steady)
        value = np.pad(np.where(known, self.flux, 0), ((0, 0), (reach, reach)))
        weight = np.pad(known * 1.0, ((0, 0), (reach, reach)))
        m = steady.shape[1]
        for i, one in enumerate(kernel):
            top += one * value[:, i : i + m]
            base += one * weight[:, i : i + m]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.maximum(np.where(base > 0, top / base, np.nan_to_num(steady)), 0.0)

    def samples(self, profile: TransverseProfile, sky: TrailSky, *, own: bool, box: bool) -> TrailSamples:
        """Return what was fitted."""
        if box:
            self.flux, self.variance = self.planes[5] / self.planes[6], self.planes[7] / self.planes[6] ** 2
        track, frame = self.track, self.frame
        flux, error, share = self.total()
        # an error of the sky is in all columns alike
        pixels = 11.0 if box else float(1 / np.sum(profile.at(np.arange(-30, 31)) ** 2))
        error = np.hypot(error, pixels * sky.error * _plateau(self.response) * track.speed)
        electrons = np.sqrt(self.variance + (frame.scintillation * np.nan_to_num(self.flux)) ** 2)
        with np.errstate(divide="ignore", invalid="ignore"):
            snr = flux / error
        x0, y0, x1, y1 = track.ends(frame.x, frame.y)
        totals = TrailTotals(
            flux, error, snr, x0, y0, x1, y1, share, isolation(track, frame.x, frame.y, flux, profile.fwhm),
            self.counts[:, :30],
        )  # fmt: skip
        edge = FLAT * profile.fwhm
        return TrailSamples(
            track.time_of(self.place), self.place, self.flux * track.speed, electrons * track.speed, self.planes[4],
            self.response, self._flags(), self.along - np.rint(self.along),
            (self.along >= edge) & (self.along <= track.length - edge), totals, sky, profile, track, own,
        )  # fmt: skip

    def _flags(self) -> IntArray:
        off, dead = 1 << 30, 1 << 31
        flags = np.zeros(self.bits.shape, np.int64)
        flags[self.bits & ~off & ~dead != 0] |= FLAG_ARCHIVE
        flags[self.bits & dead != 0] |= FLAG_ARCHIVE
        flags[self.bits & MASK_COSMIC_RAY != 0] |= FLAG_COSMIC_RAY
        flags[self.bits & MASK_SATURATED != 0] |= FLAG_SATURATED
        flags[self.bits & (off | MASK_NO_DATA) != 0] |= FLAG_EDGE
        flags[~np.isfinite(self.ground[:, 0])] |= FLAG_BACKGROUND
        flags[self.spoilt] |= FLAG_BACKGROUND
        flags[~np.isfinite(self.flux)] |= FLAG_NOT_FINITE
        return flags


def _plateau(response: FloatArray) -> FloatArray:
    """Return by how much a total is amiss if all columns are amiss by 1."""
    norm = np.sum(response**2, axis=1)
    return np.asarray(np.sum(response, axis=1) / np.where(norm > 0, norm, np.nan))


def isolation(track: TrackModel, x: FloatArray, y: FloatArray, flux: FloatArray, fwhm: float) -> FloatArray:
    """Return the light of all neighbours of trails over their own, infinite where that is not above 0."""
    known = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    out = np.full(len(x), np.nan)
    if not len(known):
        return out
    places = np.stack(
        [
            track.along(x[known], y[known]) / (track.length + 2.5 * fwhm),
            track.across(x[known], y[known]) / (2.5 * fwhm),
        ],
        axis=1,
    )
    pairs = cKDTree(places).query_pairs(1.0, p=np.inf, output_type="ndarray")
    light = np.maximum(np.nan_to_num(flux[known]), 0.0)
    near = np.bincount(pairs[:, 0], light[pairs[:, 1]], len(known))
    near += np.bincount(pairs[:, 1], light[pairs[:, 0]], len(known))
    with np.errstate(divide="ignore", invalid="ignore"):
        out[known] = np.where(light > 0, near / light, np.inf)
    return out


def _profile_of(
    frame: _Frame, sky: TrailSky, columns: _Columns, flux: FloatArray, fwhm: float
) -> TransverseProfile:
    """Return the profile of the trails that are bright, whole, clean and alone."""
    light = flux / frame.track.speed
    with np.errstate(divide="ignore", invalid="ignore"):
        known = np.isfinite(columns.variance)
        mean = np.sum(np.where(known, columns.variance, 0), axis=1) / known.sum(axis=1)
        noise = np.sqrt(np.maximum(light, 0) + mean)
        good = light / noise > BRIGHT
    good &= (isolation(frame.track, frame.x, frame.y, flux, fwhm) < ALONE) & (columns.counts.sum(axis=1) == 0)
    rows = np.flatnonzero(good)
    chosen = rows[np.argsort(-light[rows], kind="stable")]
    return measure_profile(
        frame.image, frame.good, frame.track, sky, (frame.x, frame.y), light, chosen=chosen, fwhm=fwhm
    )


def _reject(frame: _Frame, sky: TrailSky, profile: TransverseProfile, columns: _Columns) -> int:
    """Take cosmic rays from the good pixels; return how many pixels."""
    from virtualobserver.maths.trails.extract_kernel import add_trails, sharp_pixels

    ux, uy = _direction(frame.track)
    model = np.zeros(frame.image.shape, np.float32)
    add_trails(
        model,
        frame.x,
        frame.y,
        ux,
        uy,
        columns.first,
        columns.shift,
        columns.table,
        columns.half,
        columns.flux,
    )
    before = frame.good.copy()
    beside = float(profile.at([1.0])[0] / profile.at([0.0])[0])
    found = int(sharp_pixels(
        frame.image, model, frame.good, columns.ground, sky.split, frame.x, frame.y, ux, uy, columns.first,
        columns.along.shape[1], columns.half, beside, SHARP,
    ))  # fmt: skip
    frame.codes[before & ~frame.good] |= MASK_COSMIC_RAY
    return found
