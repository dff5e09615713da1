"""Likelihood images of shift-and-stack: what each pixel of each frame says about a point source there.

For a frame with signal s, variance v and point spread function p, ``psi(x) = sum_k p_k s(x+k)/v(x+k)`` and
``phi(x) = sum_k p_k^2 / v(x+k)``. Along a trajectory both add up over the frames; ``psi / phi`` is then the
most likely flux and ``psi / sqrt(phi)`` its signal-to-noise ratio, which is standard normal in pure noise.
Source: Whidden et al. 2019, AJ 157, 119 (KBMOD).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import correlate

from virtualobserver.errors import DataError

__all__ = [
    "Frames",
    "LikelihoodImages",
    "Masked",
    "bin_frames",
    "bin_psf",
    "gaussian_psf",
    "likelihood_images",
    "psf_sigma",
    "psi_phi",
]

Floats = NDArray[np.floating]
Masked = Literal["ml", "kbmod"]


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
    """

    psi: NDArray[np.float32]
    phi: NDArray[np.float32]
    tau: NDArray[np.float64]
    sigma: NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of frames, rows, columns."""
        n, ny, nx = self.psi.shape
        return n, ny, nx

    def inverted(self) -> LikelihoodImages:
        """Return the same with the sign of every signal changed: what is found there is false."""
        return LikelihoodImages(-self.psi, self.phi, self.tau, self.sigma)

    def shuffled(self, seed: int = 0) -> LikelihoodImages:
        """Return the frames at the times of others: real movers fall apart, noise stays as it is."""
        order = np.random.default_rng(seed).permutation(len(self.tau))
        return LikelihoodImages(self.psi[order], self.phi[order], self.tau, self.sigma[order])

    def section(self, rows: slice, cols: slice) -> LikelihoodImages:
        """Return a box of all frames."""
        return LikelihoodImages(self.psi[:, rows, cols], self.phi[:, rows, cols], self.tau, self.sigma)


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


def likelihood_images(frames: Frames, *, masked: Masked = "ml") -> LikelihoodImages:
    """Compute psi and phi of all frames; see `psi_phi`."""
    psi = np.empty(frames.science.shape, dtype=np.float32)
    phi = np.empty_like(psi)
    for number, kernel in enumerate(frames.psf):
        psi[number], phi[number] = psi_phi(
            frames.science[number], frames.variance[number], kernel, masked=masked
        )
    sigma = np.array([psf_sigma(kernel) for kernel in frames.psf])
    return LikelihoodImages(psi, phi, frames.tau, sigma)


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
    n, ny, nx = frames.science.shape
    shape = (n, ny // 2, 2, nx // 2, 2)
    crop = (slice(None), slice(ny // 2 * 2), slice(nx // 2 * 2))
    valid = frames.valid[crop].reshape(shape).all(axis=(2, 4))
    planes = []
    for plane in (frames.science, frames.variance):
        total = plane[crop].reshape(shape).sum(axis=(2, 4), dtype=np.float64)
        planes.append(np.where(valid, total, np.nan).astype(np.float32))
    return Frames(
        frames.mjd, planes[0], planes[1], tuple(bin_psf(kernel) for kernel in frames.psf), frames.exptime
    )


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
