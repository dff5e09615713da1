"""Forms of short events as a trail shows them: drawn out by the image of the star, summed over samples."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.errors import DataError
from virtualobserver.maths.microlensing import light_curve

__all__ = ["BANK", "Template", "intrinsic", "spread"]

FloatArray = NDArray[np.float64]
Shape = Literal["unresolved", "tophat", "gaussian", "pspl", "finite"]

UNRESOLVED: Final = 0.05
"""Seconds: of what is much shorter than the image of a star takes to pass: only amplitude times duration is told."""
_IMPACT: Final = 0.3
"""Closest approach of the point lens of the bank, Einstein radii; wings and width go with it, and widths are given."""
_RADIUS: Final = 1.0
"""Of the disc of the bank, Einstein radii: the lens passes its middle."""
_FINE: Final = 1 / 64
"""Steps of the grid, samples: a tenth of the shortest form or less."""


@dataclass(frozen=True)
class Template:
    """A form and its full width at half maximum, s."""

    shape: Shape
    duration: float


BANK: Final = (
    Template("unresolved", UNRESOLVED),
    *(Template("tophat", duration) for duration in (0.5, 1.0, 2.0, 4.0)),
    *(Template("gaussian", duration) for duration in (1.0, 2.0, 4.0)),
    *(Template("pspl", duration) for duration in (1.0, 2.0, 4.0)),
    *(Template("finite", duration) for duration in (1.0, 2.0, 4.0)),
)
"""What is looked for. Dips have the forms of pulses, upside down."""


def intrinsic(shape: Shape, since: ArrayLike, duration: float) -> FloatArray:
    """Return the form of an event, 1 at its highest, at seconds from its middle.

    Parameters
    ----------
    shape
        ``pspl``: a point lens that passes a point at 0.3 Einstein radii; ``finite``: one that passes the middle of a
        disc of one Einstein radius. ``unresolved`` is a top-hat.
    since
        Seconds, any shape.
    duration
        Full width at half maximum, s, above 0.

    Raises
    ------
    DataError
        If the duration is not above 0.
    """
    t = np.abs(np.asarray(since, float))
    if not duration > 0:
        msg = f"an event lasts longer than 0 s, not {duration}"
        raise DataError(msg)
    if shape in {"unresolved", "tophat"}:
        return np.asarray(np.where(t < duration / 2, 1.0, np.where(t == duration / 2, 0.5, 0.0)))
    if shape == "gaussian":
        return np.asarray(np.exp2(-4 * (t / duration) ** 2))
    rho, u0 = (_RADIUS, 0.0) if shape == "finite" else (0.0, _IMPACT)
    t_e = duration / _width(u0, rho)
    top = float(light_curve(0.0, t0=0.0, t_e=1.0, u0=u0, rho=rho)) - 1
    return np.asarray((light_curve(t, t0=0.0, t_e=t_e, u0=u0, rho=rho) - 1) / top)


def spread(template: Template, *, step: float, sigma: float, reach: int, per_step: int = 2) -> FloatArray:
    """Return a form as samples show it, drawn out by a Gaussian and averaged over each sample.

    Parameters
    ----------
    template
        Which.
    step
        Of samples, s.
    sigma
        Of the image of a star along its trail, s.
    reach, per_step
        Samples to either side of the middle, and points in each.

    Returns
    -------
    array, shape (2 reach per_step + 1,)
        From ``-reach`` to ``reach`` samples.
    """
    return _spread(template, round(step, 9), round(sigma, 9), reach, per_step)


# --- inside -----------------------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def _spread(template: Template, step: float, sigma: float, reach: int, per_step: int) -> FloatArray:
    if not (step > 0 and sigma > 0):
        msg = f"samples and the image of a star have a width above 0 s, not {step} and {sigma}"
        raise DataError(msg)
    fine = step * _FINE
    half = round(reach / _FINE) + int(np.ceil(5 * sigma / fine)) + round(0.5 / _FINE)
    t = fine * np.arange(-half, half + 1)
    # the mean over each step of the grid, so that what is shorter than a step keeps its light
    inner = (np.arange(8) - 3.5) / 8 * fine
    form = intrinsic(template.shape, t[:, None] + inner, template.duration).mean(axis=1)
    width = int(np.ceil(5 * sigma / fine))
    blur = np.exp(-0.5 * (fine * np.arange(-width, width + 1) / sigma) ** 2)
    box = np.ones(round(1 / _FINE) + 1)
    box[[0, -1]] = 0.5
    for kernel in (blur / blur.sum(), box / box.sum()):
        form = np.convolve(form, kernel, mode="same")
    middle, every = len(form) // 2, round(1 / _FINE / per_step)
    wanted = np.arange(-reach * per_step, reach * per_step + 1) * every + middle
    found = form[wanted]
    found.flags.writeable = False
    return np.asarray(found)


@lru_cache(maxsize=8)
def _width(u0: float, rho: float) -> float:
    """Return the full width at half maximum of a passage, Einstein times."""
    t = np.linspace(0, 5, 5001)
    excess = light_curve(t, t0=0.0, t_e=1.0, u0=u0, rho=rho) - 1
    return 2 * float(np.interp(-0.5 * excess[0], -excess, t))
