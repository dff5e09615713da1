"""A WorkUnit in memory: a stack of images with all that KBMOD keeps with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from virtualobserver.errors import DataError
from virtualobserver.io.kbmod.config import default_config
from virtualobserver.maths.shiftstack.images import Frames
from virtualobserver.maths.times import Site
from virtualobserver.typing import Record, Value

__all__ = ["WorkUnit"]


@dataclass(frozen=True, eq=False)
class WorkUnit:
    """A stack of images.

    Parameters
    ----------
    mjd
        Middle of each exposure, MJD (UTC), d, shape (n,), rising.
    science, variance
        Shape (n, ny, nx), float32; NaN in both where masked.
    mask
        1 = masked, shape (n, ny, nx), uint8.
    psf
        One kernel per image, float32.
    observer
        Where the telescope stands.
    wcs
        Header cards of each image's world coordinates, with NAXIS1 and NAXIS2; None = not known.
    meta
        Columns with one value per constituent (data_loc, visit, filter ...).
    meta_wcs
        Header cards by column name (per_image_wcs, ebd_wcs), one entry per constituent.
    config
        Search parameters of KBMOD.
    indices
        Numbers of the constituents of each image; by default its own.
    reprojected, frame, distance
        Whether the images were resampled to one grid, into which frame (``original`` or ``ebd``), and the
        barycentric distance that was assumed, AU.
    global_wcs
        Header cards of a world coordinate system common to all images.

    Raises
    ------
    DataError
        If shapes do not agree or times fall.
    """

    mjd: NDArray[np.float64]
    science: NDArray[np.float32]
    variance: NDArray[np.float32]
    mask: NDArray[np.uint8]
    psf: tuple[NDArray[np.float32], ...]
    observer: Site
    wcs: tuple[Record | None, ...] = ()
    meta: Mapping[str, Sequence[Value]] = field(default_factory=dict)
    meta_wcs: Mapping[str, Sequence[Record | None]] = field(default_factory=dict)
    config: Record = field(default_factory=default_config)
    indices: tuple[tuple[int, ...], ...] = ()
    reprojected: bool = False
    frame: str = ""
    distance: float | None = None
    global_wcs: Record | None = None

    def __post_init__(self) -> None:
        n = len(self.mjd)
        shapes = {self.science.shape, self.variance.shape, self.mask.shape}
        if len(shapes) != 1 or self.science.ndim != 3 or len(self.science) != n or len(self.psf) != n:
            msg = f"{n} times, {len(self.psf)} kernels and planes of shapes {shapes} do not belong together"
            raise DataError(msg)
        if bool((np.diff(self.mjd) < 0).any()) or not bool(np.isfinite(self.mjd).all()):
            msg = "the images of a WorkUnit are in order of time; sort them by the middle of the exposure"
            raise DataError(msg)
        if not self.wcs:
            object.__setattr__(self, "wcs", (None,) * n)
        if not self.indices:
            object.__setattr__(self, "indices", tuple((number,) for number in range(n)))
        if len(self.wcs) != n or len(self.indices) != n:
            msg = f"{n} images need as many world coordinate systems and lists of constituents"
            raise DataError(msg)

    @property
    def n_constituents(self) -> int:
        """Number of original images."""
        return 1 + max((max(each, default=-1) for each in self.indices), default=-1)

    def frames(self) -> Frames:
        """Return the stack as the search takes it."""
        bad = self.mask != 0
        return Frames(
            self.mjd,
            np.where(bad, np.float32(np.nan), self.science),
            np.where(bad, np.float32(np.nan), self.variance),
            self.psf,
        )
