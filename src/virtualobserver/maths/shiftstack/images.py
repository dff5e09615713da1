"""Likelihood images of shift-and-stack: what each pixel of each frame says about a point source there.

For a frame with signal s, variance v and point spread function p, ``psi(x) = sum_k p_k s(x+k)/v(x+k)`` and
``phi(x) = sum_k p_k^2 / v(x+k)``. Along a trajectory both add up over the frames; ``psi / phi`` is then the
most likely flux and ``psi / sqrt(phi)`` its signal-to-noise ratio, which is standard normal in pure noise.
Source: Whidden et al. 2019, AJ 157, 119 (KBMOD).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import correlate

from virtualobserver.errors import DataError

__all__ = [
    "Frames",
    "LikelihoodImages",
    "Masked",
    "Stack",
    "bin_frames",
    "bin_planes",
    "bin_psf",
    "gaussian_psf",
    "psf_sigma",
    "psi_phi",
]

Floats = NDArray[np.floating]
Masked = Literal["ml", "kbmod"]


class Stack(Protocol):
    """Frames of one sky on one grid, read box by box: what a search works on, in memory or not."""

    @property
    def mjd(self) -> NDArray[np.float64]:
        """Middle of each exposure, MJD (UTC), shape (n,), never falling."""
        ...

    @property
    def psf(self) -> tuple[NDArray[np.float32], ...]:
        """One odd, square, non-negative kernel per frame."""
        ...

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of frames, rows, columns."""
        ...

    def planes(
        self, frame: int, rows: tuple[int, int], cols: tuple[int, int]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return signal and variance of the box from one row to before another; NaN outside the grid."""
        ...

    def covered(self) -> NDArray[np.bool_]:
        """Return the pixels with data in any frame, shape (ny, nx)."""
        ...


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames of one sky on one pixel grid, in order of time.

    Parameters
    ----------
    mjd
        Middle of each exposure, MJD (UTC), shape (n,), never falling.
    science, variance
        Signal and its variance, shape (n, ny, nx); NaN in the signal, or a variance that is not positive
        and finite, marks a pixel without data.
    psf
        One odd, square, non-negative kernel per frame.
    exptime
        Exposure times, s, shape (n,); 0 = not known.

    Raises
    ------
    DataError
        If shapes do not agree, times fall, or a kernel is not odd and square.
    """

    mjd: NDArray[np.float64]
    science: NDArray[np.float32]
    variance: NDArray[np.float32]
    psf: tuple[NDArray[np.float32], ...]
    exptime: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        n = len(self.mjd)
        if self.science.shape != self.variance.shape or self.science.ndim != 3:
            msg = f"signal and variance need one shape (n, ny, nx), not {self.science.shape} and "
            msg += f"{self.variance.shape}"
            raise DataError(msg)
        if not n == len(self.science) == len(self.psf):
            msg = f"{n} times, {len(self.science)} frames and {len(self.psf)} kernels do not belong together"
            raise DataError(msg)
        if not bool(np.isfinite(self.mjd).all()) or bool((np.diff(self.mjd) < 0).any()):
            msg = "frames are in order of time, with a finite MJD each; sort them first"
            raise DataError(msg)
        for kernel in self.psf:
            _check_psf(kernel)

    @property
    def tau(self) -> NDArray[np.float64]:
        """Days since the first frame, shape (n,)."""
        return self.mjd - self.mjd[0] if len(self.mjd) else self.mjd

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of frames, rows, columns."""
        n, ny, nx = self.science.shape
        return n, ny, nx

    def planes(
        self, frame: int, rows: tuple[int, int], cols: tuple[int, int]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return signal and variance of a box of one frame, NaN outside; see `Stack`."""
        return _box(self.science[frame], rows, cols), _box(self.variance[frame], rows, cols)

    def covered(self) -> NDArray[np.bool_]:
        """Return the pixels with data in any frame, shape (ny, nx)."""
        return np.asarray(self.valid.any(axis=0))

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Pixels with data, shape (n, ny, nx)."""
        with np.errstate(all="ignore"):
            return np.isfinite(self.science) & np.isfinite(self.variance) & (self.variance > 0)


@dataclass(frozen=True, eq=False)
class LikelihoodImages:
    """psi and phi of every frame.

    Parameters
    ----------
    psi, phi
        Shape (n, ny, nx); both are 0 where there is no data.
    tau
        Days since the first frame, shape (n,).
    sigma
        Gaussian-equivalent width of each frame's point spread function, pixels, shape (n,).
    origin
        Column and row of the first pixel of each frame's box on the common grid, shape (n, 2); by default the
        boxes are the whole grid.
    """

    psi: NDArray[np.float32]
    phi: NDArray[np.float32]
    tau: NDArray[np.float64]
    sigma: NDArray[np.float64]
    origin: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 2), np.int64))

    def __post_init__(self) -> None:
        if len(self.origin) != len(self.psi):
            object.__setattr__(self, "origin", np.zeros((len(self.psi), 2), np.int64))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of frames, rows, columns."""
        n, ny, nx = self.psi.shape
        return n, ny, nx

    def inverted(self) -> LikelihoodImages:
        """Return the same with the sign of every signal changed: what is found there is false."""
        return replace(self, psi=-self.psi)

    def capped(self, limit: float) -> LikelihoodImages:
        """Return the same with no signal beyond `limit` times its error, of either sign."""
        psi = np.empty_like(self.psi)
        for one, signal, weight in zip(psi, self.psi, self.phi, strict=True):
            most = np.float32(limit) * np.sqrt(weight)
            np.clip(signal, -most, most, out=one)
        return replace(self, psi=psi)

    def shuffled(self, seed: int = 0) -> LikelihoodImages:
        """Return the frames at the times of others: real movers fall apart, noise stays as it is."""
        order = np.random.default_rng(seed).permutation(len(self.tau))
        return LikelihoodImages(self.psi[order], self.phi[order], self.tau, self.sigma[order])


def gaussian_psf(sigma: float, radius: int | None = None) -> NDArray[np.float32]:
    """Gaussian kernel sampled at pixel centres, sum 1; radius ``int(3 sigma)`` as KBMOD has it.

    Raises
    ------
    DataError
        If `sigma` is not positive.
    """
    if not 0 < sigma < np.inf:
        msg = f"a point spread function needs a positive width, not {sigma}"
        raise DataError(msg)
    reach = int(3 * sigma) if radius is None else radius
    line = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = np.outer(line, line)
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)


def psf_sigma(psf: ArrayLike) -> float:
    """Width of the Gaussian with as many noise pixels, ``1/(4 pi sigma^2) = sum p^2``, in pixels."""
    kernel = np.asarray(psf, dtype=np.float64)
    return float(1.0 / np.sqrt(4.0 * np.pi * np.sum((kernel / kernel.sum()) ** 2)))


def psi_phi(
    science: ArrayLike,
    variance: ArrayLike,
    psf: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    masked: Masked = "ml",
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Compute psi and phi of one frame.

    Parameters
    ----------
    science, variance : array_like, shape (ny, nx)
        Signal and variance; NaN or a variance that is not positive = no data.
    psf : array_like
        Odd square kernel, applied as a correlation (not flipped).
    mask : array_like, optional
        Not 0 = no data.
    masked : {"ml", "kbmod"}
        ``ml``: sums over the pixels with data, the exact maximum likelihood. ``kbmod``: these sums scaled up
        to a whole kernel, as KBMOD does; at edges and masks the result then is no longer of unit variance.

    Returns
    -------
    tuple of ndarray, shape (ny, nx)
        psi and phi, 0 where the pixel itself has no data.

    Raises
    ------
    DataError
        If the kernel is not odd and square or shapes differ.
    """
    signal, noise = (np.asarray(plane, dtype=np.float32) for plane in (science, variance))
    kernel = np.asarray(psf, dtype=np.float32)
    _check_psf(kernel)
    if signal.shape != noise.shape or signal.ndim != 2:
        msg = f"signal {signal.shape} and variance {noise.shape} must be planes of one shape"
        raise DataError(msg)
    with np.errstate(all="ignore"):
        valid = np.isfinite(signal) & np.isfinite(noise) & (noise > 0)
        if mask is not None:
            valid &= np.asarray(mask) == 0
        weight = np.where(valid, np.float32(1) / noise, np.float32(0))
    # products in double: s/v of bright pixels must not lose digits before they are summed
    weighted = np.where(valid, signal, np.float32(0)).astype(np.float64) * weight
    psi = _correlated(weighted, kernel)
    phi = _correlated(weight.astype(np.float64), kernel.astype(np.float64) ** 2)
    if masked == "kbmod":
        here = valid.astype(np.float64)
        squared = kernel.astype(np.float64) ** 2
        with np.errstate(all="ignore"):
            psi *= kernel.sum(dtype=np.float64) / _correlated(here, kernel)
            phi *= squared.sum() / _correlated(here, squared)
    empty = ~valid | ~(phi > 0)
    psi[empty] = 0.0
    phi[empty] = 0.0
    return psi.astype(np.float32), phi.astype(np.float32)


def bin_psf(psf: ArrayLike) -> NDArray[np.float32]:
    """Kernel on pixels twice as large, for a source at the middle of one; the sum stays."""
    kernel = np.asarray(psf, dtype=np.float64)
    _check_psf(kernel)
    # half-pixel shift by linear interpolation, then the sum of two: (1/2, 1, 1/2) at even distances
    reach = kernel.shape[0] // 2
    pad = 2 + reach % 2
    wide = np.pad(kernel, pad)
    for axis in (0, 1):
        wide = 0.5 * np.roll(wide, 1, axis) + wide + 0.5 * np.roll(wide, -1, axis)
    middle = reach + pad
    start = middle % 2
    return wide[start::2, start::2].astype(np.float32)


def bin_frames(frames: Frames) -> Frames:
    """Sum 2 x 2 pixels into one; a block with any pixel without data has none.

    Binned pixel (X, Y) has its centre at (2 X + 0.5, 2 Y + 0.5) of the old ones; odd last rows and columns are
    left out.
    """
    pairs = [bin_planes(*planes) for planes in zip(frames.science, frames.variance, strict=True)]
    science, variance = (np.array([pair[which] for pair in pairs], dtype=np.float32) for which in (0, 1))
    return Frames(
        frames.mjd, science, variance, tuple(bin_psf(kernel) for kernel in frames.psf), frames.exptime
    )


def bin_planes(
    science: NDArray[np.floating], variance: NDArray[np.floating]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Sum 2 x 2 pixels of one frame into one, see `bin_frames`."""
    ny, nx = science.shape
    shape = (ny // 2, 2, nx // 2, 2)
    crop = (slice(ny // 2 * 2), slice(nx // 2 * 2))
    with np.errstate(all="ignore"):
        good = np.isfinite(science) & np.isfinite(variance) & (variance > 0)
    valid = good[crop].reshape(shape).all(axis=(1, 3))
    signal, noise = (
        np.where(valid, plane[crop].reshape(shape).sum(axis=(1, 3), dtype=np.float64), np.nan).astype(
            np.float32
        )
        for plane in (science, variance)
    )
    return signal, noise


def _box(plane: NDArray[np.float32], rows: tuple[int, int], cols: tuple[int, int]) -> NDArray[np.float32]:
    """Cut a box that may reach beyond the plane, NaN there."""
    ny, nx = plane.shape
    y0, y1, x0, x1 = max(0, rows[0]), min(ny, rows[1]), max(0, cols[0]), min(nx, cols[1])
    if (y0, y1, x0, x1) == (*rows, *cols):
        return plane[y0:y1, x0:x1]
    result = np.full((rows[1] - rows[0], cols[1] - cols[0]), np.nan, np.float32)
    if y0 < y1 and x0 < x1:
        result[y0 - rows[0] : y1 - rows[0], x0 - cols[0] : x1 - cols[0]] = plane[y0:y1, x0:x1]
    return result


def _correlated(plane: NDArray[np.float64], kernel: NDArray[np.floating]) -> NDArray[np.float64]:
    result = correlate(plane, kernel.astype(np.float64), output=np.float64, mode="constant", cval=0.0)
    return np.asarray(result)


def _check_psf(kernel: NDArray[np.floating]) -> None:
    shape = kernel.shape
    if kernel.ndim != 2 or shape[0] != shape[1] or shape[0] % 2 == 0:
        msg = f"a point spread function is an odd square kernel, not {shape}"
        raise DataError(msg)
    if not bool(np.isfinite(kernel).all()) or bool((kernel < 0).any()) or not kernel.sum() > 0:
        msg = "a point spread function has finite, non-negative values with a positive sum"
        raise DataError(msg)
