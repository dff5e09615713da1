"""Images with variance and mask."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final

from virtualobserver.data.show import facts_html, picture_html
from virtualobserver.data.table import freeze
from virtualobserver.data.world import moved, world_of
from virtualobserver.errors import DataError
from virtualobserver.maths.arrays import Array
from virtualobserver.typing import Record, RecordDict

if TYPE_CHECKING:
    from astropy.nddata import CCDData, NDData
    from astropy.wcs import WCS

__all__ = ["Image"]

_SMALL: Final = 400
"""Pixels along the longer side of the picture in a notebook, about those of the screen."""


@dataclass(frozen=True, eq=False, repr=False)
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
        If the planes differ in shape, or the mask holds no whole numbers.
    """

    kind: ClassVar[str] = "image"

    data: Array
    variance: Array | None = None
    mask: Array | None = None
    header: Record = field(default_factory=dict)
    unit: str = "adu"

    def __post_init__(self) -> None:
        object.__setattr__(self, "header", copy.deepcopy(dict(self.header)))
        for name in ("data", "variance", "mask"):
            plane = getattr(self, name)
            if plane is None:
                continue
            object.__setattr__(self, name, freeze(plane, name))
            if plane.shape != self.data.shape:
                msg = f"{name} has shape {plane.shape}, the image {self.data.shape}"
                raise DataError(msg)
        if self.mask is not None and self.mask.dtype.kind not in "biu":
            msg = f"mask holds bits, whole numbers of which 0 is good, not {self.mask.dtype}"
            raise DataError(msg)

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.data.shape))
        planes = [name for name in ("variance", "mask") if getattr(self, name) is not None]
        with_planes = f", with {' and '.join(planes)}" if planes else ""
        return f"<Image of {shape} pixels ({self.data.dtype}) in {self.unit or 'no unit'}{with_planes}>"

    def _repr_html_(self) -> str:
        shown = ("OBJECT", "DATE-OBS", "EXPTIME", "FILTER", "INSTRUME", "TELESCOP")
        cards = {key: self.header[key] for key in shown if self.header.get(key) is not None}
        return facts_html(repr(self), cards) + self._small()

    def _small(self) -> str:
        """Return a small picture in pixels, of a large image every so manieth one."""
        from virtualobserver.data.panels import ImageStack

        if not self.data.size or self.data.ndim != 2:
            return ""
        ny, nx = self.data.shape
        step = max(1, max(ny, nx) // _SMALL)
        seen = self.data[::step, ::step].astype(float)
        if self.mask is not None:
            seen[self.mask[::step, ::step] != 0] = float("nan")
        extent = (-0.5, nx - 0.5, -0.5, ny - 0.5)
        return picture_html(ImageStack("", seen[None], [""], extent=extent), figsize=(4.5, 4.0))

    @property
    def wcs(self) -> WCS:
        """World coordinates from the header, made when asked for.

        Raises
        ------
        BadKeyword
            If astropy refuses the keywords, or one that is needed has no finite value.
        """
        return world_of(self.header)

    def cut(self, rows: slice, cols: slice | None = None) -> Image:
        """Return a box of all planes; the reference pixel of the header moves with it.

        Raises
        ------
        DataError
            If not every row and column of the box is wanted, in order: the header of such an image would be
            another one.
        """
        ny, nx = self.data.shape
        across = slice(None) if cols is None else cols
        row, column = self.corner(rows, across, (ny, nx))
        data, *others = [
            None if p is None else p[rows, across] for p in (self.data, self.variance, self.mask)
        ]
        assert data is not None
        header = self.moved(self.header, row, column, shape=(data.shape[0], data.shape[1]))
        return Image(data, others[0], others[1], header, self.unit)

    @staticmethod
    def corner(rows: slice, cols: slice, shape: tuple[int, int]) -> tuple[int, int]:
        """Return the first row and column of a box in an image of a shape.

        Raises
        ------
        DataError
            If it has steps.
        """
        (row, _, row_step), (column, _, column_step) = rows.indices(shape[0]), cols.indices(shape[1])
        if row_step != 1 or column_step != 1:
            msg = f"a box takes every pixel, in order; not steps of {row_step} rows and {column_step} columns"
            raise DataError(msg)
        return row, column

    @staticmethod
    def moved(header: Record, row: int, column: int, *, shape: tuple[int, int] | None = None) -> RecordDict:
        """Return the header of a box that begins at a row and a column; see `virtualobserver.data.world.moved`."""
        return moved(header, row, column, shape=shape)

    def to_ccddata(self) -> CCDData:
        """Return an `astropy.nddata.CCDData` with variance, world coordinates, and the mask bits as ``flags``.

        Raises
        ------
        DataError
            If astropy does not know the unit, or the world coordinates are refused.
        """
        from virtualobserver.data.foreign.images import image_to_ccddata

        return image_to_ccddata(self)

    @classmethod
    def from_ccddata(cls, ccd: NDData, *, unit: str | None = None) -> Image:
        """Build from a `CCDData`, or an `NDData` whose unit is known or given.

        A mask without ``flags`` becomes bit 1, uncertainties of any known kind the variance.

        Raises
        ------
        DataError
            If there is no unit, the array has not two axes, or the kind of the uncertainty is unknown.
        """
        from virtualobserver.data.foreign.images import image_from_ccddata

        return cls(**image_from_ccddata(ccd, unit=unit))
