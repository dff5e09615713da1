"""What is left on a frame after its trails are taken away: where it is, how bright, of which form, on whose trail.

A star that flashes for less than a second leaves the image of a star and no trail. Of such an image the place across
the trail is known, and along it either the star or the time: a star that is not seen otherwise could have been anywhere
along one trail's length (`segment`), and if the spot lies on the trail of a known star (`host`), that star may have
flashed when it was there (`host_time`). Both are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import correlate1d, maximum_filter
from scipy.special import ndtr

from virtualobserver.conventions import MASK_COSMIC_RAY, MASK_NAMES
from virtualobserver.errors import DataError
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.trails.track import TrackModel

__all__ = ["SPOT_COLUMNS", "Hosts", "Spots", "find_spots", "hosted", "point_errors"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
FloatPlane = NDArray[np.float32]
_COVERED: Final = 0.5
"""Of the weight of the filter that must lie on good pixels: with less, a spot is a guess."""
_REACH: Final = 3.0
"""Standard deviations of the image of a star: half the side of the box in which a spot is measured."""
_BESIDE: Final = 2.5
"""Standard deviations off the middle of a trail, and off its ends, within which a spot lies on it: what the model of a
bright star leaves at an end is a percent of it, as far out as one and a half."""
_NARROWEST: Final = 1 / 12
"""Variance of one pixel, px²: nothing is narrower."""
_STANDS: Final = 5.0
"""Standard deviations by which a pixel beside the middle one must exceed it to be the peak; noise does so in 1e-4."""
_ROUND: Final = 2.9
"""Scatter of the logarithm of the elongation of round spots, times their signal over noise; measured at 8 to 150."""
_UNKNOWN: Final = 1e3
"""Error of a sharpness of which nothing is known, where the middle of a spot is masked."""
_BAND: Final = 256
"""Rows filtered at once: with a dozen planes of them 25 MB on a chip of 2046 columns."""
_LONGEST: Final = 10.0
"""Largest elongation that is told: longer ones leave the box."""

SPOT_COLUMNS: Final = MappingProxyType(
    {
        "x": "pix", "y": "pix", "flux": "electron", "flux_error": "electron", "snr": "", "elongation": "",
        "elongation_error": "", "angle": "deg", "width": "", "sharpness": "", "sharpness_error": "", "n_pixels": "",
        "n_masked": "", "n_cosmic_ray": "", "host": "", "host_time": "s", "host_offset": "pix", "host_share": "",
        "n_hosts": "", "segment_x": "pix", "segment_y": "pix",
    }
)  # fmt: skip
"""The columns of a table of spots and their units, as `Spots.columns` returns them."""


@dataclass(frozen=True, eq=False)
class Hosts:
    """The stars whose trails were taken away.

    Parameters
    ----------
    star_id
        Numbers, 0 or above.
    x, y
        Where the star is when the shutter opens, pixels from 0 at the middle of the first one.
    flux
        Unit of the image a second; NaN where not known. Without it no spot is known to be a small part of a trail.
    """

    star_id: IntArray
    x: FloatArray
    y: FloatArray
    flux: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class Spots:
    """Spots by falling signal-to-noise ratio; all are arrays of one length.

    Parameters
    ----------
    x, y
        Middle, pixels from 0 at the middle of the first one.
    flux, flux_error, snr
        Under the image of a star; the unit of the image (electrons).
    elongation, elongation_error
        Major over minor axis, 1 = round; root mean square of its logarithm for a round spot as bright.
    angle
        Of the major axis from +x towards +y, degrees from -90 to 90.
    width
        Minor axis over that of the image of a star.
    sharpness, sharpness_error
        Middle pixel over flux, divided by what the image of a star has there: 1 for a star, more for a cosmic ray.
    n_pixels, n_masked
        Pixels of the box about the spot, and those of them that were left out.
    counts
        Bit of the mask to pixels of the box that have it.
    host, host_time, host_offset, host_share, n_hosts
        The star whose trail is nearest, -1 if none covers the spot; when that star was there, s since the beginning of
        the exposure; how far the spot lies off its trail, px; flux over what the star leaves under the same profile;
        how many trails cover it.
    segment_x, segment_y
        Where a star of which nothing else is seen was when the shutter opened, if it flashed at the very end; if at the
        beginning, it was at `x`, `y`. It lies between the two, px.
    """

    x: FloatArray
    y: FloatArray
    flux: FloatArray
    flux_error: FloatArray
    snr: FloatArray
    elongation: FloatArray
    elongation_error: FloatArray
    angle: FloatArray
    width: FloatArray
    sharpness: FloatArray
    sharpness_error: FloatArray
    n_pixels: IntArray
    n_masked: IntArray
    host: IntArray
    host_time: FloatArray
    host_offset: FloatArray
    host_share: FloatArray
    n_hosts: IntArray
    segment_x: FloatArray
    segment_y: FloatArray
    counts: Mapping[int, IntArray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def n_cosmic_ray(self) -> IntArray:
        """Pixels of the box that the mask calls part of a cosmic ray."""
        return self.counts.get(MASK_COSMIC_RAY, np.zeros(len(self), np.int64))

    def columns(self) -> dict[str, Array]:
        """Return the columns of a table, those of `SPOT_COLUMNS`."""
        return {name: getattr(self, name) for name in SPOT_COLUMNS}

    @classmethod
    def from_columns(cls, columns: Mapping[str, Array]) -> Spots:
        """Return the spots of a table with the columns of `SPOT_COLUMNS`.

        Raises
        ------
        DataError
            If one is missing.
        """
        if missing := [name for name in SPOT_COLUMNS if name not in columns]:
            msg = f"a table of spots has the columns {', '.join(SPOT_COLUMNS)}; this one lacks {', '.join(missing)}"
            raise DataError(msg)
        counts = {MASK_COSMIC_RAY: np.asarray(columns["n_cosmic_ray"])}
        own = [name for name in SPOT_COLUMNS if name != "n_cosmic_ray"]
        return cls(**{name: np.asarray(columns[name]) for name in own}, counts=counts)


def find_spots(
    residual: Array, variance: Array, mask: Array | None = None, *, sigma: float, track: TrackModel,
    hosts: Hosts | None = None, threshold: float = 6.0, soft: int = MASK_COSMIC_RAY,
) -> Spots:  # fmt: skip
    """Find what looks like a point in a frame without its trails.

    Parameters
    ----------
    residual
        Image less sky and trails, electrons, shape (ny, nx).
    variance
        Of its pixels: of sky, read-out and the trails that were taken away, and the square of what the model of a trail
        may be wrong by; without the light of the spots themselves.
    mask
        Bits; pixels with any but those of `soft` are left out, as are those that are not finite.
    sigma
        Standard deviation of the image of a star, px, above 0.
    track
        How stars move.
    hosts
        Stars whose trails were taken away.
    threshold
        Least signal over noise. A frame has one independent place in 4 pi sigma² pixels: on 2046 x 4094 with a sigma of
        1.7 noise alone reaches 6 once in 4000 frames.
    soft
        Bits of pixels that are counted and not left out: what a pipeline took for a cosmic ray may be a flash.

    Returns
    -------
    Spots
        By falling signal-to-noise ratio.

    Raises
    ------
    DataError
        If the planes are not of one shape, or `sigma` or `threshold` not above 0.
    """
    _check((residual, variance, mask), sigma, threshold)
    boxes, rows, cols = _boxes((residual, variance, mask), sigma, threshold, soft)
    measured = boxes.measured(sigma)
    order = np.argsort(-measured["snr"], kind="stable")
    order = order[measured["snr"][order] >= threshold]
    columns = {name: values[order] for name, values in measured.items()}
    columns["x"], columns["y"] = columns["x"] + cols[order], columns["y"] + rows[order]
    trails = hosted((columns["x"], columns["y"]), columns["flux"], track, sigma, hosts)
    vx, vy = track.vector
    there = 0 if mask is None else int(np.bitwise_or.reduce(mask, axis=None))
    counts = {bit: boxes.count(bit)[order] for bit in MASK_NAMES if there & bit}
    return Spots(
        **columns, **trails, counts=counts, segment_x=columns["x"] - vx * track.exptime,
        segment_y=columns["y"] - vy * track.exptime,
    )  # fmt: skip


def point_errors(
    variance: Array,
    mask: Array | None,
    x: FloatArray,
    y: FloatArray,
    *,
    sigma: float,
    soft: int = MASK_COSMIC_RAY,
) -> dict[str, Array]:
    """Return what `find_spots` would say of a point at places, shape (n,), but for its light.

    Columns ``flux_error`` (NaN where too little of it lies on good pixels to be found), ``n_pixels, n_masked`` and
    ``n_cosmic_ray``; arguments as there.
    """
    half, (ny, nx) = _half(sigma), np.shape(variance)
    steps, rows, cols = np.arange(-half, half + 1), np.rint(y).astype(int), np.rint(x).astype(int)
    at_y, at_x = rows[:, None, None] + steps[:, None], cols[:, None, None] + steps
    inside = (at_y >= 0) & (at_y < ny) & (at_x >= 0) & (at_x < nx)
    at = np.clip(at_y, 0, ny - 1), np.clip(at_x, 0, nx - 1)
    noise = np.asarray(variance[at], float)
    bits = np.zeros(noise.shape, np.int64) if mask is None else np.asarray(mask[at], np.int64)
    good = inside & np.isfinite(noise) & (noise > 0) & ((bits & ~soft) == 0)
    profile = _profile(sigma, y - rows, half)[:, :, None] * _profile(sigma, x - cols, half)[:, None, :]
    told = np.where(good, profile**2, 0.0)
    info = np.divide(told, noise, out=np.zeros(noise.shape), where=good).sum(axis=(1, 2))
    seen = told.sum(axis=(1, 2)) >= _COVERED * (profile**2).sum(axis=(1, 2))
    error = np.full(len(x), np.nan)
    error[seen] = 1 / np.sqrt(info[seen])
    return {
        "flux_error": error, "n_pixels": np.full(len(x), len(steps) ** 2), "n_masked": (~good).sum(axis=(1, 2)),
        "n_cosmic_ray": (inside & ((bits & MASK_COSMIC_RAY) != 0)).sum(axis=(1, 2)),
    }  # fmt: skip


def hosted(
    place: tuple[FloatArray, FloatArray],
    flux: FloatArray,
    track: TrackModel,
    sigma: float,
    hosts: Hosts | None,
) -> dict[str, Array]:
    """Return the trails on which places lie: the nearest one, when its star was there, and how many.

    Columns ``host, host_time, host_offset, host_share, n_hosts`` of `Spots`, for what has some flux there.
    """
    (x, y), n = place, len(flux)
    host, count = np.full(n, -1, np.int64), np.zeros(n, np.int64)
    time, offset, share = (np.full(n, np.nan) for _ in range(3))
    if hosts is not None and len(hosts.star_id):
        across = track.across(hosts.x, hosts.y)
        order = np.argsort(across, kind="stable")
        lines, reach = across[order], _BESIDE * sigma
        mine = track.across(x, y)
        low, high = np.searchsorted(lines, mine - reach), np.searchsorted(lines, mine + reach, side="right")
        # what a star leaves under the profile that measures a spot: a line of light through its middle
        under = 2 * np.sqrt(np.pi) * sigma / track.speed
        for number in range(n):
            near = order[low[number] : high[number]]
            along = track.along(x[number] - hosts.x[near], y[number] - hosts.y[near])
            on = (along >= -reach) & (along <= track.length + reach)
            near, along = near[on], along[on]
            count[number] = len(near)
            if len(near) == 0:
                continue
            away = mine[number] - across[near]
            best = int(np.argmin(np.abs(away)))
            host[number], offset[number] = hosts.star_id[near[best]], away[best]
            time[number] = track.time_of(np.clip(along[best], 0, track.length))
            if hosts.flux is not None and hosts.flux[near[best]] > 0:
                share[number] = flux[number] / (hosts.flux[near[best]] * under)
    return {"host": host, "host_time": time, "host_offset": offset, "host_share": share, "n_hosts": count}


# --- inside -----------------------------------------------------------------------------------------------


def _check(planes: tuple[Array, Array, Array | None], sigma: float, threshold: float) -> None:
    shapes = {np.shape(plane) for plane in planes if plane is not None}
    if len(shapes) != 1 or np.ndim(planes[0]) != 2 or not (sigma > 0 and threshold > 0):
        msg = (
            f"spots are found in an image with variance and mask of its shape, a sigma and a threshold above 0, "
            f"not in shapes {sorted(shapes)} with {sigma} and {threshold}"
        )
        raise DataError(msg)


def _profile(sigma: float, middle: ArrayLike, half: int) -> FloatArray:
    """Return the light of a Gaussian in the pixels from -half to half, summed over each."""
    step = np.arange(-half, half + 1) - np.asarray(middle, float)[..., None]
    return np.asarray(ndtr((step + 0.5) / sigma) - ndtr((step - 0.5) / sigma))


def _boxes(
    planes: tuple[Array, Array, Array | None], sigma: float, threshold: float, soft: int
) -> tuple[_Boxes, IntArray, IntArray]:
    """Return the pixels about each peak, and the rows and columns of the peaks: in bands, to hold no more planes."""
    residual, variance, mask = planes
    half = _half(sigma)
    ny, beyond, found = len(residual), half + _apart(sigma) // 2, []
    for start in range(0, max(ny, 1), _BAND):
        first, last = max(start - beyond, 0), min(start + _BAND + beyond, ny)
        band = np.s_[first:last]
        here, noise = np.asarray(residual[band]), np.asarray(variance[band])
        bits = np.zeros(here.shape, np.int64) if mask is None else np.asarray(mask[band]).astype(np.int64)
        good = np.isfinite(here) & np.isfinite(noise) & (noise > 0) & ((bits & ~soft) == 0)
        weight = np.zeros(here.shape, np.float32)
        np.divide(1, noise, out=weight, where=good, casting="unsafe")
        signal = np.where(good, here, 0).astype(np.float32) * weight
        rows, cols = _peaks(signal, weight, sigma, threshold)
        own = (rows + first >= start) & (rows + first < start + _BAND)
        rows, cols = rows[own], cols[own]
        found.append((_Boxes.cut((signal, weight, bits), rows, cols, half), rows + first, cols))
    parts, all_rows, all_cols = zip(*found, strict=True)
    return _Boxes.joined(parts), np.concatenate(all_rows), np.concatenate(all_cols)


def _half(sigma: float) -> int:
    """Return half the side of the box of a spot, and of the filter."""
    return max(int(np.ceil(_REACH * sigma)), 2)


def _apart(sigma: float) -> int:
    """Return the side of the box of which a peak is the highest pixel."""
    return 2 * max(round(1.5 * sigma), 1) + 1


def _peaks(
    signal: FloatPlane, weight: FloatPlane, sigma: float, threshold: float
) -> tuple[IntArray, IntArray]:
    """Return the highest pixels of their surroundings in the filtered image.

    A little below the threshold: the middle of a spot is seldom that of a pixel.
    """
    line = _profile(sigma, 0.0, _half(sigma)).astype(np.float32)
    top, info = signal, weight
    for axis in (0, 1):
        top = correlate1d(top, line, axis=axis, mode="constant")
        info = correlate1d(info, line**2, axis=axis, mode="constant")
    # 0.5 of the filter, by its own weight: what the pixels around a peak say about the masked ones within
    share = weight > 0
    part = np.asarray(share, np.float32)
    for axis in (0, 1):
        part = correlate1d(part, line**2 / (line**2).sum(), axis=axis, mode="constant")
    ratio = np.zeros_like(top)
    np.divide(top, np.sqrt(info), out=ratio, where=(part >= _COVERED) & (info > 0))
    rows, cols = np.nonzero((ratio == maximum_filter(ratio, _apart(sigma))) & (ratio > 0.9 * threshold))
    return rows.astype(np.int64), cols.astype(np.int64)


@dataclass(frozen=True, eq=False)
class _Boxes:
    """The pixels about each peak, shape (n, 2 half + 1, 2 half + 1): data over variance, its inverse, mask."""

    signal: FloatArray
    weight: FloatArray
    bits: IntArray
    half: int

    @classmethod
    def cut(
        cls, planes: tuple[FloatPlane, FloatPlane, IntArray], rows: IntArray, cols: IntArray, half: int
    ) -> _Boxes:
        steps, (ny, nx) = np.arange(-half, half + 1), planes[0].shape
        y, x = rows[:, None, None] + steps[:, None], cols[:, None, None] + steps
        inside = (y >= 0) & (y < ny) & (x >= 0) & (x < nx)
        y, x = np.clip(y, 0, ny - 1), np.clip(x, 0, nx - 1)
        signal, weight, bits = (np.where(inside, plane[y, x], 0) for plane in planes)
        return cls(signal.astype(float), weight.astype(float), bits, half)

    @classmethod
    def joined(cls, parts: Sequence[_Boxes]) -> _Boxes:
        planes = [
            np.concatenate([getattr(one, name) for one in parts]) for name in ("signal", "weight", "bits")
        ]
        return cls(planes[0], planes[1], planes[2], parts[0].half)

    def count(self, bit: int) -> IntArray:
        """Return how many pixels have a bit."""
        return np.asarray(((self.bits & bit) != 0).sum(axis=(1, 2)), np.int64)

    def measured(self, sigma: float) -> dict[str, Array]:
        """Return what is measured of each, places from the middle of the box."""
        good, size = self.weight > 0, (2 * self.half + 1) ** 2
        data = np.divide(self.signal, self.weight, out=np.zeros_like(self.signal), where=good)
        x, y, moments = self._moments(data, good, sigma)
        profile = (
            _profile(sigma, y, self.half)[:, :, None] * _profile(sigma, x, self.half)[:, None, :]
        )  # (n, rows, columns)
        info = (profile**2 * self.weight).sum(axis=(1, 2))
        flux = np.divide((profile * self.signal).sum(axis=(1, 2)), info, out=np.zeros(len(x)), where=info > 0)
        error = np.divide(1, np.sqrt(info), out=np.full(len(x), np.inf), where=info > 0)
        snr = flux / error
        elongation, angle, narrow = _axes(moments, sigma)
        at, each = self._peak(data, flux[:, None, None] * profile, x, y), np.arange(len(x))
        peak = data.reshape(len(x), size)[each, at]
        expected = flux * profile.reshape(len(x), size)[each, at]
        weight = self.weight.reshape(len(x), size)[each, at]
        known = (expected > 0) & (weight > 0)
        sharp, noise = np.zeros(len(x)), np.full(len(x), _UNKNOWN)
        np.divide(peak, expected, out=sharp, where=known)
        np.divide(1, expected * np.sqrt(weight), out=noise, where=known)
        return {
            "x": x, "y": y, "flux": flux, "flux_error": error, "snr": snr, "elongation": elongation,
            "elongation_error": _ROUND / np.maximum(snr, 1.0), "angle": angle, "width": narrow,
            "sharpness": sharp, "sharpness_error": np.minimum(noise, _UNKNOWN),
            "n_pixels": np.full(len(x), size), "n_masked": (~good).sum(axis=(1, 2)),
        }  # fmt: skip

    def _peak(self, data: FloatArray, star: FloatArray, x: FloatArray, y: FloatArray) -> IntArray:
        """Return the flat number of the pixel nearest the middle, or of one beside it that stands out.

        The highest of several is high by noise alone; but a cosmic ray is seldom where its middle is.
        """
        side = 2 * self.half + 1
        step_y, step_x = np.divmod(np.arange(9), 3)
        rows = np.rint(y).astype(int)[:, None] + self.half + step_y - 1
        cols = np.rint(x).astype(int)[:, None] + self.half + step_x - 1
        flat = np.clip(rows, 0, side - 1) * side + np.clip(cols, 0, side - 1)
        excess, weight = (
            np.take_along_axis(plane.reshape(len(x), side**2), flat, 1)
            for plane in (data - star, self.weight)
        )
        excess *= np.sqrt(weight)
        best = np.argmax(excess, axis=1)
        each = np.arange(len(x))
        stands = excess[each, best] > excess[:, 4] + _STANDS
        return np.asarray(flat[each, np.where(stands, best, 4)])

    def _moments(
        self, data: FloatArray, good: NDArray[np.bool_], sigma: float
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the middle and the second moments under a Gaussian window of the width of a star.

        Masked pixels take the value of the pixel opposite, so that a hole draws nothing to its side.
        """
        opposite = np.flip(data, axis=(1, 2)) * np.flip(good, axis=(1, 2))
        filled = np.where(good, data, opposite)
        steps = np.arange(-self.half, self.half + 1, dtype=float)
        x, y = np.zeros(len(data)), np.zeros(len(data))
        shape = np.zeros((len(data), 3))
        for _ in range(4):  # each halves what is left of the way to the middle
            dx, dy = steps - x[:, None], steps - y[:, None]
            light = filled * np.exp(-0.5 * (dy[:, :, None] ** 2 + dx[:, None, :] ** 2) / sigma**2)
            total = light.sum(axis=(1, 2))
            total = np.where(total > 0, total, np.inf)
            mx = np.einsum("nij,nj->n", light, dx) / total
            my = np.einsum("nij,ni->n", light, dy) / total
            shape[:, 0] = np.einsum("nij,nj->n", light, dx**2) / total - mx**2
            shape[:, 1] = np.einsum("nij,ni->n", light, dy**2) / total - my**2
            shape[:, 2] = np.einsum("nij,nj,ni->n", light, dx, dy) / total - mx * my
            x, y = np.clip(x + 2 * mx, -2, 2), np.clip(y + 2 * my, -2, 2)
        return x, y, shape


def _axes(moments: FloatArray, sigma: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return elongation, angle of the major axis (degrees) and minor axis over `sigma`, the window taken out.

    Under a Gaussian window of variance w a Gaussian of variance v has the moment v w / (v + w).
    """
    xx, yy, xy = moments.T
    middle, apart = 0.5 * (xx + yy), np.hypot(0.5 * (xx - yy), xy)
    window = sigma**2
    longest = (_LONGEST * sigma) ** 2
    axes = []
    for seen in (middle + apart, middle - apart):
        rest = window - seen
        true = np.where(rest > 0, seen * window / np.where(rest > 0, rest, 1.0), longest)
        axes.append(np.clip(true, _NARROWEST, longest))
    angle = np.degrees(0.5 * np.arctan2(2 * xy, xx - yy))
    elongation = np.minimum(np.sqrt(axes[0] / axes[1]), _LONGEST)
    return elongation, angle, np.sqrt(axes[1]) / sigma
