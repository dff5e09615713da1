"""Position and velocity of a candidate between the pixels, with errors.

The likelihood ``L = (sum psi)^2 / (2 sum phi)`` is climbed with psi interpolated by cubic B-splines and the
information matrix of a Gaussian profile in background noise, ``flux^2 phi / (2 sigma^2)`` per axis and frame
(Cramer-Rao bound; see e.g. King 1983, PASP 95, 163).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import spline_filter1d

from virtualobserver.maths.shiftstack.images import LikelihoodImages
from virtualobserver.maths.shiftstack.search import Trajectories, positions

__all__ = ["EDGE", "Refined", "refine"]

_Sampled = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
"""Values at places between the pixels, and their slopes in x and y."""
_STEPS: Final = 12
"""Most steps; it ends sooner where a step gains nothing."""
_HALVINGS: Final = 5
"""A step 32 times shorter that gains nothing means that the top is reached."""
_WILD: Final = 4.0
"""Errors beyond the brightest that is usual, which itself is some three errors above noise: no noise is."""
_BRIGHTER: Final = 1.5
"""And in that: seeing and clouds change what a bright mover shows."""
EDGE: Final = 4
"""Pixels about a cutout that cubic B-splines need; beyond them the prefilter has died down."""


@dataclass(frozen=True, eq=False)
class Refined:
    """A path between the pixels.

    Parameters
    ----------
    x, y
        Position at the first frame, pixels; the centre of the first pixel is (0, 0).
    vx, vy
        Pixels per day.
    likelihood, flux, flux_error
        At this path, interpolated.
    x_mid, y_mid, tau_mid
        Position where it is known best, and that time (days since the first frame).
    covariance_x, covariance_y
        Of (x, vx) and (y, vy), shape (2, 2).
    epochs
        Frames with data along the path, shape (frames,).
    """

    x: float
    y: float
    vx: float
    vy: float
    likelihood: float
    flux: float
    flux_error: float
    tau_mid: float
    covariance_x: NDArray[np.float64]
    covariance_y: NDArray[np.float64]
    epochs: NDArray[np.bool_]

    @property
    def x_error(self) -> float:
        """Standard error of `x`, pixels."""
        return float(np.sqrt(self.covariance_x[0, 0]))

    @property
    def y_error(self) -> float:
        """Standard error of `y`, pixels."""
        return float(np.sqrt(self.covariance_y[0, 0]))

    @property
    def vx_error(self) -> float:
        """Standard error of `vx`, pixels per day."""
        return float(np.sqrt(self.covariance_x[1, 1]))

    @property
    def vy_error(self) -> float:
        """Standard error of `vy`, pixels per day."""
        return float(np.sqrt(self.covariance_y[1, 1]))

    def at(self, tau: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return positions at days since the first frame, pixels."""
        return self.x + self.vx * tau, self.y + self.vy * tau

    def error_at(self, tau: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the standard errors of these positions, pixels."""
        x, y = (
            np.sqrt(np.maximum(c[0, 0] + 2 * tau * c[0, 1] + tau**2 * c[1, 1], 0.0))
            for c in (self.covariance_x, self.covariance_y)
        )
        return x, y

    def with_errors_of(
        self,
        maps: NDArray[np.float64],
        tau: NDArray[np.float64],
        phi: NDArray[np.float64],
        sigma: NDArray[np.float64],
    ) -> Refined:
        """Return the path with the errors of the maps from the grid of the first frame to the others.

        Parameters
        ----------
        maps
            Error of each map on each axis, pixels, shape (frames,); 0 = exact.
        tau, phi, sigma
            Days since the first frame, weight in it and width of the profile, shape (frames,).

        Notes
        -----
        A map is from the stars of the first frame to those of another, and has its error from both alike: half of its
        variance is the same in all frames, which moves the path as a whole.
        """
        here = phi > 0
        unknown = maps[here] > 0
        if here.sum() < 2 or not unknown.any():
            return self
        design = np.column_stack([np.ones(here.sum()), tau[here]])
        weight = (phi / sigma**2)[here]
        # how much of what a frame is off the path gets
        gain = np.linalg.pinv(design * np.sqrt(weight)[:, None]) * np.sqrt(weight)
        half = 0.5 * maps[here] ** 2
        extra = (gain * half) @ gain.T
        extra[0, 0] += float(np.median(half[unknown]))
        return replace(self, covariance_x=self.covariance_x + extra, covariance_y=self.covariance_y + extra)


@dataclass(frozen=True, eq=False)
class _Near:
    """Pixels of the path of the search, widths of the frames, and how far an epoch may move."""

    pixel: NDArray[np.float64]
    sigma: NDArray[np.float64]
    max_shift: float


def refine(
    # chosen: more than a step of the grid moves a path
    images: LikelihoodImages,
    found: Trajectories,
    row: int = 0,
    *,
    max_shift: float = 3.0,
    clip: bool = True,
) -> Refined:
    """Climb to the most likely path near one of `found`.

    Parameters
    ----------
    row
        Which of the paths.
    max_shift
        No epoch moves farther than this from where the search had it, pixels.
    clip
        Leave out epochs with something near the path that is much brighter than what is usual there: a cosmic ray or
        a satellite in one epoch, or what a star leaves, would pull the path to itself.
    """
    tau = images.tau
    one = found.take(slice(row, row + 1))
    reach = int(np.ceil(max_shift)) + EDGE
    x, y = (part[0] for part in positions(one, tau))
    psi, weights, here = _cutouts(images, x, y, reach)
    phi = weights[:, reach, reach]
    start = np.array([one.x[0], one.vx[0], one.y[0], one.vy[0]])
    if not here.any():
        return _result(images, start, (psi[:, reach, reach], phi, here), float(tau.mean()))
    if clip:
        here = _calm(psi, weights, here)
    smooth, smooth_phi = (
        spline_filter1d(spline_filter1d(part, 3, axis=1, mode="mirror"), 3, axis=2, mode="mirror")[here]
        for part in (psi, weights)
    )
    t = tau[here]
    middle = float(np.average(t, weights=phi[here]))
    design = np.column_stack([np.ones(t.size), t - middle])
    origin = np.array([start[0] + start[1] * middle, start[1], start[2] + start[3] * middle, start[3]])
    offset = np.array([x[here], y[here]], dtype=np.float64)

    def sampled(path: NDArray[np.float64]) -> tuple[_Sampled, _Sampled]:
        dx, dy = design @ path[:2] - offset[0], design @ path[2:] - offset[1]
        return _spline(smooth, dx, dy, reach), _spline(smooth_phi, dx, dy, reach)

    path = _climb(sampled, origin, design, phi[here], _Near(offset, images.sigma[here], max_shift))
    value = np.zeros(len(tau))
    value[here] = sampled(path)[0][0]
    best = np.array([path[0] - path[1] * middle, path[1], path[2] - path[3] * middle, path[3]])
    return _result(images, best, (value, phi, here), middle)


def _calm(psi: NDArray[np.float64], phi: NDArray[np.float64], here: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the epochs in whose cutout nothing is much brighter than what most have; all, if those are not half."""
    error = np.sqrt(np.maximum(phi, 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        brightest = np.where(error > 0, psi / error, 0.0).max(axis=(1, 2))
    usual = max(float(np.median(brightest[here])), 0.0)
    calm = here & (brightest <= max(usual + _WILD, _BRIGHTER * usual))
    return calm if 2 * calm.sum() >= here.sum() else here


def _climb(
    sampled: Callable[[NDArray[np.float64]], tuple[_Sampled, _Sampled]],
    path: NDArray[np.float64],
    design: NDArray[np.float64],
    weight: NDArray[np.float64],
    near: _Near,
) -> NDArray[np.float64]:
    """Fisher scoring with halved steps while the likelihood falls or an epoch leaves its cutout."""
    for _ in range(_STEPS):
        (psi, gx, gy), (phi, hx, hy) = sampled(path)
        summed, total = psi.sum(), phi.sum()
        if summed <= 0 or total <= 0:
            break
        flux = summed / total
        information = design.T @ (design * (flux**2 * weight / (2 * near.sigma**2))[:, None])
        # beside a mask less light is seen, which is not where the mover is not
        slope_x, slope_y = (flux * (g - 0.5 * flux * h) for g, h in ((gx, hx), (gy, hy)))
        gradient = np.concatenate([design.T @ slope_x, design.T @ slope_y])
        try:
            step = np.concatenate([np.linalg.solve(information, part) for part in np.split(gradient, 2)])
        except np.linalg.LinAlgError:
            break
        for _ in range(_HALVINGS):
            new = path + step
            moved = np.abs(np.array([design @ new[:2], design @ new[2:]]) - near.pixel).max()
            if moved <= near.max_shift and _likelihood(sampled(new)) > summed / np.sqrt(total):
                break
            step = step / 2
        else:
            break
        path = new
        # pixels: far below the error of any path
        if np.abs(np.array([design @ step[:2], design @ step[2:]])).max() < 1e-4:
            break
    return path


def _likelihood(sampled: tuple[_Sampled, _Sampled]) -> float:
    (psi, _, _), (phi, _, _) = sampled
    total = float(phi.sum())
    return float(psi.sum()) / float(np.sqrt(total)) if total > 0 else -np.inf


def _result(
    images: LikelihoodImages,
    path: NDArray[np.float64],
    sums: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]],
    middle: float,
) -> Refined:
    """Return the path with its covariance; infinite where the epochs do not tell both place and velocity."""
    psi, phi, here = sums
    total, weight = float(psi[here].sum()), float(phi[here].sum())
    flux = total / weight if weight > 0 else -1.0
    design = np.column_stack([np.ones(here.sum()), images.tau[here]])
    scaled = np.maximum(flux, 0.0) ** 2 * phi[here] / (2 * images.sigma[here] ** 2)
    information = design.T @ (design * scaled[:, None])
    covariance = np.full((2, 2), np.inf)
    # beyond it the inverse has no digit left in double precision
    if here.sum() > 1 and np.linalg.cond(information) < 1e15:
        covariance = np.linalg.inv(information)
    return Refined(
        x=float(path[0]),
        y=float(path[2]),
        vx=float(path[1]),
        vy=float(path[3]),
        likelihood=total / float(np.sqrt(weight)) if weight > 0 else -1.0,
        flux=flux,
        flux_error=1.0 / float(np.sqrt(weight)) if weight > 0 else np.inf,
        tau_mid=middle,
        covariance_x=covariance,
        covariance_y=covariance.copy(),
        epochs=here,
    )


def _cutouts(
    images: LikelihoodImages, x: NDArray[np.int64], y: NDArray[np.int64], reach: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Return boxes of psi and phi about the pixels, and where these have data."""
    n, ny, nx = images.shape
    side = np.arange(-reach, reach + 1)
    left, low = images.origin.T
    rows, cols = (y - low)[:, None, None] + side[:, None], (x - left)[:, None, None] + side
    inside = (rows >= 0) & (rows < ny) & (cols >= 0) & (cols < nx)
    at = (np.arange(n)[:, None, None], np.clip(rows, 0, ny - 1), np.clip(cols, 0, nx - 1))
    psi = np.where(inside, images.psi[at], 0.0).astype(np.float64)
    phi = np.where(inside, images.phi[at], 0.0).astype(np.float64)
    return psi, phi, phi[:, reach, reach] > 0


def _spline(
    smooth: NDArray[np.float64], dx: NDArray[np.float64], dy: NDArray[np.float64], reach: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Value and both slopes of the cubic B-splines at distances from the centres."""
    base_x, base_y = np.floor(dx).astype(np.int64), np.floor(dy).astype(np.int64)
    wx, sx = _weights(dx - base_x)
    wy, sy = _weights(dy - base_y)
    near = np.arange(-1, 3)
    box = smooth[
        np.arange(len(dx))[:, None, None],
        (base_y + reach)[:, None, None] + near[:, None],
        (base_x + reach)[:, None, None] + near,
    ]
    return (
        np.einsum("nyx,ny,nx->n", box, wy, wx),
        np.einsum("nyx,ny,nx->n", box, wy, sx),
        np.einsum("nyx,ny,nx->n", box, sy, wx),
    )


def _weights(u: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights of the four cubic B-splines at a fraction `u` of a pixel, and their slopes."""
    v = 1.0 - u
    weights = [v**3 / 6, 2 / 3 - u**2 + u**3 / 2, 2 / 3 - v**2 + v**3 / 2, u**3 / 6]
    slopes = [-(v**2) / 2, -2 * u + 1.5 * u**2, 2 * v - 1.5 * v**2, u**2 / 2]
    return np.stack(weights, axis=-1), np.stack(slopes, axis=-1)
