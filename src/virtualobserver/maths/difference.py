"""What moved or changed in a series of aligned frames: temporal template, masked stars, difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from virtualobserver.conventions import MAD_TO_SIGMA, MASK_HALO, MASK_NO_DATA
from virtualobserver.errors import DataError, NotEnoughData
from virtualobserver.maths.ccd_combine import Clipping, NoiseModel, Sections, combine
from virtualobserver.maths.psf import Psf

__all__ = [
    "Difference",
    "FrameQuality",
    "Template",
    "frame_quality",
    "select_frames",
    "star_mask",
    "subtract_template",
    "temporal_template",
]

FloatPlane = NDArray[np.float32]
MaskPlane = NDArray[np.uint16]


@dataclass(frozen=True, eq=False)
class Template:
    """What stays in a series: image, its variance, and frames used per pixel."""

    data: FloatPlane
    variance: FloatPlane
    n_used: NDArray[np.uint16]


@dataclass(frozen=True, eq=False)
class Difference:
    """A frame less its template, with the variance of both and the mask."""

    data: FloatPlane
    variance: FloatPlane
    mask: MaskPlane
    scale: float


@dataclass(frozen=True)
class FrameQuality:
    """What decides whether a frame is used: FWHM (pixels), elongation, sky, transparency (1 = best), stars."""

    fwhm: float
    elongation: float
    sky: float
    transparency: float
    n_stars: int


def temporal_template(
    frames: Sequence[Sections], *, method: Literal["median", "average"] = "median", memory_limit: float = 1e9,
) -> Template:  # fmt: skip
    """Combine aligned, background-subtracted frames; NaN is missing, and no mover survives the clipping.

    Parameters
    ----------
    memory_limit
        Bytes in use at most, whatever the number of frames.

    Raises
    ------
    NotEnoughData
        If there are fewer than 3 frames: a mover would be in its own template.
    """
    if len(frames) < 3:
        msg = f"a template of {len(frames)} frames would hold what moves; at least 3 are needed"
        raise NotEnoughData(msg)
    found = combine(
        frames, method=method, clip=Clipping(), noise=NoiseModel(minimum=1e-6), memory_limit=memory_limit,
    )  # fmt: skip
    return Template(found.data, found.variance, found.n_used)


def star_mask(
    template: FloatPlane, variance: NDArray[Any], *, sigma: float = 4.0, frames: int = 1, grow: int = 0
) -> NDArray[np.bool_]:
    """Return where a template has stars: above `sigma` standard deviations of the mean of `frames` frames.

    Parameters
    ----------
    variance
        Of a pixel of one frame.
    grow
        Pixels added around.
    """
    noise = np.sqrt(np.asarray(variance, float) / max(frames, 1))
    with np.errstate(invalid="ignore"):
        stars = np.asarray(template > sigma * noise)
    for _ in range(grow):
        around = np.pad(stars, 1)
        stars = stars | around[2:, 1:-1] | around[:-2, 1:-1] | around[1:-1, 2:] | around[1:-1, :-2]
    return np.asarray(stars)


def subtract_template(
    data: NDArray[Any],
    variance: NDArray[Any],
    mask: NDArray[Any],
    template: Template,
    *,
    stars: NDArray[np.bool_] | None = None,
    fit_scale: bool = True,
    member: bool = False,
) -> Difference:
    """Subtract a template from an aligned frame.

    Parameters
    ----------
    data, variance, mask
        The frame on the template's grid, background subtracted.
    stars
        Pixels to mask with ``MASK_HALO``: residuals of stars are not noise.
    fit_scale
        Scale the template to the frame's transparency, by weighted least squares over the stars.
    member
        Whether the frame is one of those the template was made of: it is then less unlike it.

    Raises
    ------
    DataError
        If the shapes differ.
    """
    if np.shape(data) != template.data.shape:
        msg = f"the frame has shape {np.shape(data)}, the template {template.data.shape}; align them first"
        raise DataError(msg)
    bits = np.asarray(mask).astype(np.uint16)
    lost = ~np.isfinite(data) | ~np.isfinite(template.data) | ~np.isfinite(variance)
    bits = bits | np.where(lost, MASK_NO_DATA, 0).astype(np.uint16)
    scale = _scale(np.asarray(data), np.asarray(variance), bits, template) if fit_scale else 1.0
    change = np.asarray(data, np.float32) - np.float32(scale) * template.data
    total = np.asarray(variance, np.float32) + np.float32(scale**2) * template.variance
    if member:
        shared = np.float32(2 * scale) * np.asarray(variance, np.float32) / np.maximum(template.n_used, 1)
        total = np.maximum(total - shared, np.float32(0.1) * total)
    if stars is not None:
        bits = bits | np.where(stars, MASK_HALO, 0).astype(np.uint16)
    change[lost], total[lost] = np.nan, np.nan
    return Difference(change, total, bits, scale)


def frame_quality(psf: Psf, *, sky: float, transparency: float, n_stars: int) -> FrameQuality:
    """Put together what is known of one frame."""
    return FrameQuality(psf.fwhm, psf.elongation, sky, transparency, n_stars)


def select_frames(
    frames: Sequence[FrameQuality],
    *,
    fwhm: float = 2.0,
    elongation: float = 1.8,
    transparency: float = 0.5,
    stars: float = 0.3,
    sky: float = 5.0,
) -> tuple[list[int], dict[int, str]]:
    """Return which frames of a night are good, and why each of the others is not.

    Parameters
    ----------
    fwhm, sky
        Largest, in units of the night's median.
    elongation
        Largest.
    transparency
        Least, 1 = the night's best.
    stars
        Least number, in units of the night's median.
    """
    good: list[int] = []
    refused: dict[int, str] = {}
    if not frames:
        return good, refused
    middle = {
        name: float(np.median([getattr(f, name) for f in frames])) for name in ("fwhm", "sky", "n_stars")
    }
    for number, frame in enumerate(frames):
        if not frame.fwhm <= fwhm * middle["fwhm"]:
            refused[number] = f"FWHM of {frame.fwhm:.2f} px, the night has {middle['fwhm']:.2f}"
        elif not frame.elongation <= elongation:
            refused[number] = f"stars are elongated by {frame.elongation:.2f}"
        elif not frame.transparency >= transparency:
            refused[number] = f"transparency of {frame.transparency:.2f}"
        elif frame.n_stars < stars * middle["n_stars"]:
            refused[number] = f"{frame.n_stars} stars, the night has {middle['n_stars']:.0f}"
        elif middle["sky"] > 0 and frame.sky > sky * middle["sky"]:
            refused[number] = f"sky of {frame.sky:.0f}, the night has {middle['sky']:.0f}"
        else:
            good.append(number)
    return good, refused


def _scale(data: NDArray[Any], variance: NDArray[Any], bits: MaskPlane, template: Template) -> float:
    with np.errstate(invalid="ignore"):
        use = (bits == 0) & (variance > 0) & (template.data > 10 * np.sqrt(variance))
    if use.sum() < 20:
        return 1.0
    ratio = data[use] / template.data[use]
    centre = float(np.median(ratio))
    spread = max(MAD_TO_SIGMA * float(np.median(np.abs(ratio - centre))), 1e-6)
    kept = np.abs(ratio - centre) < 3 * spread
    star, weight = template.data[use][kept], 1.0 / variance[use][kept]
    return float((data[use][kept] * star * weight).sum() / (star * star * weight).sum())
