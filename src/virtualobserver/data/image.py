"""Images with variance and mask."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

from numpy.typing import NDArray

from virtualobserver.data.table import freeze
from virtualobserver.errors import DataError

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from astropy.wcs import WCS

__all__ = ["Image"]

_PIXELS: Final = re.compile(r"(?:CRPIX|LTV)([12])[A-Z]?")
"""Keywords that count pixels from the corner of an image."""


@dataclass(frozen=True, eq=False)
class Image:
    """One image.

    Parameters
    ----------
    data
        Pixels, shape (ny, nx), in `unit`.
    variance
        Variance of the pixels in `unit` squared, same shape, or None.
    mask
        Quality bits, 0 = good, same shape, or None.
    header
        FITS keywords and values, world coordinates included.
    unit
        ``adu``, ``electron`` or what astropy reads.

    Raises
    ------
    DataError
        If the planes differ in shape.
    """

    kind: ClassVar[str] = "image"

    data: NDArray[Any]
    variance: NDArray[Any] | None = None
    mask: NDArray[Any] | None = None
    header: Mapping[str, Any] = field(default_factory=dict)
    unit: str = "adu"

    def __post_init__(self) -> None:
        object.__setattr__(self, "header", copy.deepcopy(dict(self.header)))
        for name in ("data", "variance", "mask"):
            plane = getattr(self, name)
            if plane is None:
                continue
            object.__setattr__(self, name, freeze(plane))
            if plane.shape != self.data.shape:
                msg = f"{name} has shape {plane.shape}, the image {self.data.shape}"
                raise DataError(msg)

    @property
    def wcs(self) -> WCS:
        """World coordinates from the header, made when asked for."""
        from astropy.wcs import WCS, FITSFixedWarning

        with warnings.catch_warnings():
            # that DATE-OBS lets MJD-OBS be known is no news
            warnings.simplefilter("ignore", FITSFixedWarning)
            return WCS(dict(self.header))

    def cut(self, rows: slice, cols: slice | None = None) -> Image:
        """Return a box of all planes; the reference pixel of the header moves with it."""
        ny, nx = self.data.shape
        across = slice(None) if cols is None else cols
        header = self.moved(self.header, rows.indices(ny)[0], across.indices(nx)[0])
        planes = [None if p is None else p[rows, across] for p in (self.data, self.variance, self.mask)]
        assert planes[0] is not None
        return Image(planes[0], planes[1], planes[2], header, self.unit)

    @staticmethod
    def moved(header: Mapping[str, Any], row: int, column: int) -> dict[str, Any]:
        """Return the header of a box that begins at a row and a column, counted from 0."""
        new = dict(header)
        for key, value in header.items():
            found = _PIXELS.fullmatch(key)
            if found and isinstance(value, int | float) and not isinstance(value, bool):
                start = column if found[1] == "1" else row
                new[key] = value - start if start else value
        return new

    def to_ccddata(self) -> CCDData:
        """Return an `astropy.nddata.CCDData` with mask and variance."""
        from astropy.nddata import CCDData, VarianceUncertainty

        return CCDData(
            self.data.copy(),
            unit=self.unit,
            mask=None if self.mask is None else self.mask != 0,
            uncertainty=None if self.variance is None else VarianceUncertainty(self.variance.copy()),
            meta=dict(self.header),
        )
