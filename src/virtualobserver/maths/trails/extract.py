"""Light along trails: one sample a pixel, each with its time and its error, for all stars of a chip at once.

A column is what lies within half a pixel along the track, whatever its angle: each pixel is used as it is, once a
trail, so that samples do not share noise. Its light is that of a linear fit of the profile over the local sky, pixels
weighed by the noise that the model of the trail gives them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.conventions import MASK_COSMIC_RAY
from virtualobserver.errors import DataError
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.trails.columns import Columns, Frame, direction, grid_of, isolation
from virtualobserver.maths.trails.profile import TransverseProfile, measure_profile
from virtualobserver.maths.trails.rays import believe, reject, suspected
from virtualobserver.maths.trails.samples import TrailSamples, TrailTotals
from virtualobserver.maths.trails.sky import WIDTH, TrailSky, good_pixels, trail_sky
from virtualobserver.maths.trails.track import TrackModel

__all__ = ["MODES", "TrailSamples", "TrailTotals", "extract_trails", "model_image"]

FloatArray = NDArray[np.float64]
MODES: Final = ("psf", "box", "joint")
ALONE: Final = 0.02
"""Light of neighbours over a trail's own, up to which its profile is that of one star."""
BRIGHT: Final = 20.0
"""S/N of a column, from which on a trail shows the profile, and the air."""
REACH: Final = 6.0
"""FWHM across to which wings of bright trails are taken off: of 14.5 mag in 20 s half an electron is left there."""
FEWEST: Final = 5
"""Stars alone that tell the scale of a catalogue: variable ones are two of them at most."""
_WING: Final = 0.03
"""Of the noise of a pixel, that the wing of a trail must reach where its own fit ends: a column of seven such pixels is
amiss by a twelfth of its error."""


def extract_trails(
    image: Array, variance: Array, track: TrackModel, x: ArrayLike, y: ArrayLike, *, fwhm: float,
    mask: Array | None = None, mode: str = "psf", profile: TransverseProfile | None = None,
    expected: ArrayLike | None = None, catalogue: ArrayLike | None = None, split: int | None = None,
    inner: float | None = None, width: float = WIDTH, keep_annulus: bool = False, scintillation: float = 0.0,
    suspects: int = MASK_COSMIC_RAY, across: bool = True,
) -> TrailSamples:  # fmt: skip
    """Extract the light curves of all stars of a chip.

    Parameters
    ----------
    image
        Shape (ny, nx), electrons, sky not subtracted; of any kind of number.
    variance
        Of its pixels, electrons²; its median beside a trail is the noise of the sky, the model adds that of stars.
    track
        Of the chip.
    x, y
        Of all stars when the shutter opens, pixels, shape (n,).
    fwhm
        Expected of the image of a star, pixels; the true one is measured if five trails are bright and alone.
    mask
        Bits of `conventions.MASK_*`, 0 for a good pixel.
    mode
        `psf` fits each trail alone, `joint` all that overlap together, `box` sums 11 rows over the profile's share.
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
    inner, width, keep_annulus
        Of the ring of sky; see `trail_sky`.
    catalogue
        Light of each star by a catalogue, on any scale, NaN if unknown: `joint` holds stars to it that are fainter than
        the noise and lie on another's trail.
    across
        Measure where each column lies across, and how wide it is.

    Raises
    ------
    DataError
        If shapes differ, the mode is unknown or the FWHM is not above 0.
    """
    if mode not in MODES:
        msg = f"mode of an extraction must be one of {', '.join(MODES)}, not {mode!r}"
        raise DataError(msg)
    frame, own = _frame_of((image, variance, mask), track, x, y, fwhm, suspects, scintillation)
    ring = partial(
        trail_sky, variance=variance, track=track, x=frame.x, y=frame.y, good=frame.good, split=split, inner=inner,
        width=width,
    )  # fmt: skip
    frame, rough, light = _first_look(frame, ring, profile, expected, fwhm)
    sky = ring(frame.image, fwhm=rough.fwhm, expected=light, keep_annulus=keep_annulus)
    columns = _fitted(frame, sky, rough, catalogue, own=own, joint=mode == "joint")
    return columns.samples(rough, sky, own=own, box=mode == "box", across=across)


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
    ux, uy = direction(samples.track)
    totals, half = samples.totals, reach * samples.profile.fwhm
    from virtualobserver.maths.trails.extract_kernel import FINE, add_trails

    grid, first = grid_of(samples.track, totals.x_start, totals.y_start, samples.profile.fwhm)
    shift, width = samples.profile.shift_at(grid), samples.profile.width_at(grid)
    table = samples.profile.table(half, FINE)
    add_trails(plane, 0, totals.x_start, totals.y_start, ux, uy, first, shift, width, table, 0.0, half, light)
    return plane


# --- inside -----------------------------------------------------------------------------------------------


def _frame_of(  # noqa: PLR0917
    planes: tuple[Array, Array, Array | None], track: TrackModel, x: ArrayLike, y: ArrayLike, fwhm: float,
    suspects: int, scintillation: float,
) -> tuple[Frame, bool]:  # fmt: skip
    """Return the chip, and whether its mask took trails for cosmic rays or streaks, which are then no longer in it."""
    image, variance, mask = planes
    px, py = (np.atleast_1d(np.asarray(part, float)) for part in (x, y))
    good, codes = good_pixels(image, variance, mask), _codes(image, mask)
    own = bool(suspected(codes, suspects, track, px, py))
    if own:  # the mask is changed, and is the caller's
        codes = np.array(codes, np.int32)
        believe(good, codes, image, variance, suspects, track, px, py, fwhm)
    return Frame(_plain(image), good, codes, track, px, py, scintillation), own


def _first_look(
    frame: Frame,
    ring: Callable[..., TrailSky],
    profile: TransverseProfile | None,
    expected: ArrayLike | None,
    fwhm: float,
) -> tuple[Frame, TransverseProfile, ArrayLike]:
    """Return the frame without the wings of bright trails, the profile, and the light of each trail."""
    rough = TransverseProfile(fwhm) if profile is None else profile
    sky = ring(frame.image, fwhm=rough.fwhm, expected=expected, rough=True)
    columns = Columns(frame, sky, rough, np.zeros((len(frame.x), 1)))
    flux, _, _ = columns.total()
    light = np.maximum(np.nan_to_num(flux), 0.0) * frame.track.exptime if expected is None else expected
    if profile is None:
        rough = _profile_of(frame, sky, columns, flux, fwhm)
    return _without_wings(frame, sky, rough, columns, flux), rough, light


def _fitted(
    frame: Frame, sky: TrailSky, profile: TransverseProfile, catalogue: ArrayLike | None, *, own: bool, joint: bool
) -> Columns:  # fmt: skip
    """Return the columns of all trails, those that overlap fitted together if `joint`."""
    flux, likely = _likely(frame, sky, profile, own=own)
    columns = Columns(frame, sky, profile, likely)
    if joint:
        from virtualobserver.maths.trails.joint import fit_together

        fit_together(frame, sky, columns, known=_scaled(catalogue, flux, columns, profile.fwhm))
    return columns


def _likely(
    frame: Frame, sky: TrailSky, profile: TransverseProfile, *, own: bool
) -> tuple[FloatArray, FloatArray]:
    """Return electrons/s of each trail, and the light of its columns by a first fit; cosmic rays go if `own`."""
    columns = Columns(frame, sky, profile, np.zeros((len(frame.x), 1)))
    flux, _, _ = columns.total()
    steady = flux[:, None] * columns.response / frame.track.speed
    if own:
        for _ in range(2):
            columns = Columns(frame, sky, profile, steady)
            if not reject(frame, sky, profile, columns):
                break
    return flux, columns.smooth(steady)


def _plain(plane: Array) -> Array:
    return np.ascontiguousarray(plane, np.float32)


def _codes(image: Array, mask: Array | None) -> Array:
    """Return the bits of the mask, 2 bytes a pixel where they are so already; they are not written to."""
    if mask is None:
        return np.zeros(np.shape(image), np.uint16)
    return np.ascontiguousarray(mask, np.uint16 if np.asarray(mask).dtype == np.uint16 else np.int32)


def _without_wings(
    frame: Frame, sky: TrailSky, profile: TransverseProfile, columns: Columns, flux: FloatArray
) -> Frame:
    """Return the frame without the wings of bright trails: what lies beyond the pixels that they are fitted to.

    Eleven pixels from a trail are two thousandths of its light, a tenth of a star that is four magnitudes fainter.
    """
    light = np.maximum(np.nan_to_num(flux), 0.0)[:, None] * columns.response / frame.track.speed
    wing = float(profile.at([columns.half])[0])
    noise = np.sqrt(np.where(sky.variance > 0, sky.variance, np.inf))
    bright = light.max(axis=1, initial=0.0) * wing > _WING * noise
    if not bright.any():
        return frame
    from virtualobserver.maths.trails.extract_kernel import FINE, add_trails

    plane, reach = np.zeros(frame.image.shape, np.float32), REACH * profile.fwhm
    along = columns.along[bright]
    add_trails(
        plane, 0, frame.x[bright], frame.y[bright], *direction(frame.track), columns.first[bright],
        profile.shift_at(along), profile.width_at(along), profile.table(reach, FINE), columns.half, reach,
        light[bright],
    )  # fmt: skip
    return replace(frame, image=np.subtract(frame.image, plane, out=plane))


def _scaled(
    catalogue: ArrayLike | None, flux: FloatArray, columns: Columns, fwhm: float
) -> FloatArray | None:
    """Return electrons of a column by the catalogue, None without enough stars that tell its scale."""
    if catalogue is None:
        return None
    light, track = np.asarray(catalogue, float), columns.track
    alone = isolation(track, columns.frame.x, columns.frame.y, flux, fwhm) < ALONE
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = flux / track.speed / light
        seen = (
            alone
            & np.isfinite(ratio)
            & (ratio > 0)
            & (flux / track.speed > np.sqrt(_median_variance(columns)))
        )
    return np.asarray(light * np.median(ratio[seen])) if seen.sum() >= FEWEST else None


def _median_variance(columns: Columns) -> FloatArray:
    out = np.full(len(columns.flux), np.nan)
    some = np.isfinite(columns.variance).any(axis=1)
    out[some] = np.nanmedian(columns.variance[some], axis=1)
    return out


def _profile_of(
    frame: Frame, sky: TrailSky, columns: Columns, flux: FloatArray, fwhm: float
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
