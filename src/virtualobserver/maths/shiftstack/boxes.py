"""Likelihood images box by box, so that a night need not be in memory to be searched.

Each frame has its own box on the common grid: the frames of a search along some velocities are needed only where
these lead to, and a candidate needs no more than its surroundings in each frame.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.maths.shiftstack.images import (
    LikelihoodImages,
    Masked,
    Stack,
    bin_planes,
    bin_psf,
    psf_sigma,
    psi_phi,
)

__all__ = ["Likelihoods", "open_likelihoods", "phi_along"]


@dataclass(frozen=True, eq=False)
class Likelihoods:
    """psi and phi of a stack, made for the boxes that are asked for.

    Parameters
    ----------
    stack
        The frames.
    psf
        Kernels on the pixels that are searched.
    binning
        1, or 2 to search pixels of 2 x 2.
    masked
        See `psi_phi`.
    kept
        The images of the whole grid, where there is room for them.
    """

    stack: Stack
    psf: tuple[NDArray[np.float32], ...]
    binning: int
    masked: Masked
    kept: LikelihoodImages | None = None

    @property
    def tau(self) -> NDArray[np.float64]:
        """Days since the first frame, shape (n,)."""
        return np.asarray(self.stack.mjd - self.stack.mjd[0])

    @property
    def sigma(self) -> NDArray[np.float64]:
        """Widths of the profiles in searched pixels, shape (n,)."""
        return np.array([psf_sigma(kernel) for kernel in self.psf])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of frames, rows and columns of searched pixels."""
        n, ny, nx = self.stack.shape
        return n, ny // self.binning, nx // self.binning

    def covered(self) -> int:
        """Count the searched pixels with data in any frame."""
        plane = self.stack.covered()
        if self.binning == 2:
            ny, nx = (length // 2 * 2 for length in plane.shape)
            plane = np.asarray(plane[:ny, :nx].reshape(ny // 2, 2, nx // 2, 2).all(axis=(1, 3)))
        return int(plane.sum())

    def boxes(
        self, origin: NDArray[np.int64], size: tuple[int, int], *, order: NDArray[np.int64] | None = None
    ) -> LikelihoodImages:
        """Make the images of one box in each frame.

        Parameters
        ----------
        origin
            Column and row of the first pixel of each box, shape (n, 2); boxes may reach beyond the grid.
        size
            Rows and columns of all boxes.
        order
            Which frame stands at each place; by default each at its own.
        """
        n = self.shape[0]
        places = np.arange(n) if order is None else order
        if self.kept is not None and order is None and size == self.shape[1:] and not origin.any():
            return self.kept
        psi = np.zeros((n, *size), np.float32)
        phi = np.zeros_like(psi)
        for place, frame in enumerate(places.tolist()):
            self._fill(psi[place], phi[place], frame, origin[place])
        return LikelihoodImages(psi, phi, self.tau, self.sigma[places], np.asarray(origin, np.int64))

    def _fill(
        self, psi: NDArray[np.float32], phi: NDArray[np.float32], frame: int, origin: NDArray[np.int64]
    ) -> None:
        """Fill in the part of a box that lies on the frame.

        Pixels as far as the profile reaches around it are read too.
        """
        _, ny, nx = self.shape
        x, y = int(origin[0]), int(origin[1])
        y0, y1 = max(y, 0), min(y + psi.shape[0], ny)
        x0, x1 = max(x, 0), min(x + psi.shape[1], nx)
        if y0 >= y1 or x0 >= x1:
            return
        here = (slice(y0 - y, y1 - y), slice(x0 - x, x1 - x))
        if self.kept is not None:
            psi[here], phi[here] = self.kept.psi[frame, y0:y1, x0:x1], self.kept.phi[frame, y0:y1, x0:x1]
            return
        kernel, b = self.psf[frame], self.binning
        reach = kernel.shape[0] // 2
        rows, cols = ((b * (low - reach), b * (high + reach)) for low, high in ((y0, y1), (x0, x1)))
        science, variance = self.stack.planes(frame, rows, cols)
        if b == 2:
            science, variance = bin_planes(science, variance)
        inner = (slice(reach, reach + y1 - y0), slice(reach, reach + x1 - x0))
        one, two = psi_phi(science, variance, kernel, masked=self.masked)
        psi[here], phi[here] = one[inner], two[inner]


def open_likelihoods(
    stack: Stack, *, masked: Masked = "ml", binning: int = 1, keep: bool = False
) -> Likelihoods:
    """Return the likelihood images of a stack; `keep` those of the whole grid in memory."""
    psf = stack.psf if binning == 1 else tuple(bin_psf(kernel) for kernel in stack.psf)
    likelihoods = Likelihoods(stack, psf, binning, masked)
    if not keep:
        return likelihoods
    n, ny, nx = likelihoods.shape
    return replace(likelihoods, kept=likelihoods.boxes(np.zeros((n, 2), np.int64), (ny, nx)))


def phi_along(likelihoods: Likelihoods, x: ArrayLike, y: ArrayLike) -> NDArray[np.float32]:
    """Return phi at one position in each frame, shape (n,); 0 where there is no data."""
    return likelihood_along(likelihoods, x, y)[1]


def likelihood_along(
    likelihoods: Likelihoods, x: ArrayLike, y: ArrayLike
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return psi and phi at one position in each frame, shape (n,); both 0 where there is no data."""
    origin = np.stack(
        [np.floor(np.asarray(part, np.float64) + 0.5).astype(np.int64) for part in (x, y)], axis=1
    )
    near = likelihoods.boxes(origin, (1, 1))
    return near.psi[:, 0, 0], near.phi[:, 0, 0]
