"""Sets of spectra on one grid."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Final, Self

from virtualobserver.data.show import facts_html, picture_html
from virtualobserver.data.table import Table, freeze
from virtualobserver.errors import DataError
from virtualobserver.maths.arrays import Array
from virtualobserver.typing import Record

if TYPE_CHECKING:
    import specutils
    import xarray

__all__ = ["SpectrumSet"]

_SMALL: Final = (6.0, 3.0)
"""Inches of the picture in a notebook."""


@dataclass(frozen=True, eq=False, repr=False)
class SpectrumSet:
    """Spectra of one object that share a wavelength grid.

    Parameters
    ----------
    wave
        Wavelength (or velocity) of each pixel, shape (n_pixel,), in `wave_unit`.
    flux, error
        Shape (n_spectrum, n_pixel), in `flux_unit`.
    mask
        Quality bits, 0 = good, shape (n_spectrum, n_pixel).
    epochs
        One row per spectrum; has at least ``mjd`` (mid-exposure, UTC).
    frame, medium
        ``barycentric`` or ``topocentric`` or ``stellar``; ``air`` or ``vacuum``.

    Raises
    ------
    DataError
        If the shapes do not fit together.
    """

    kind: ClassVar[str] = "spectrum"

    wave: Array
    flux: Array
    error: Array
    mask: Array
    epochs: Table
    wave_unit: str = "Angstrom"
    flux_unit: str = ""
    frame: str = "barycentric"
    medium: str = "air"
    meta: Record = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "meta", copy.deepcopy(dict(self.meta)))
        for name in ("wave", "flux", "error", "mask"):
            object.__setattr__(self, name, freeze(getattr(self, name), name))
        want = (len(self.epochs), len(self.wave))
        shapes = {name: getattr(self, name).shape for name in ("flux", "error", "mask")}
        if any(shape != want for shape in shapes.values()):
            msg = f"spectra of {want[0]} epochs on {want[1]} pixels need arrays of shape {want}, not {shapes}"
            raise DataError(msg)
        if "mjd" not in self.epochs:
            msg = "the epochs of a spectrum set need a column mjd"
            raise DataError(msg)

    def __len__(self) -> int:
        return len(self.epochs)

    @property
    def mjd(self) -> Array:
        """Middle of each exposure, MJD (UTC), shape (n_spectrum,)."""
        return self.epochs["mjd"]

    def cut(self, rows: slice | None = None, cols: slice | None = None) -> Self:
        """Return some of the spectra, and some of their pixels."""
        rows, cols = rows or slice(None), cols or slice(None)
        planes = {name: getattr(self, name)[rows, cols] for name in ("flux", "error", "mask")}
        return replace(self, wave=self.wave[cols], epochs=self.epochs.take(rows), **planes)

    def __repr__(self) -> str:
        n, pixels = len(self), len(self.wave)
        span = f", {self.wave[0]:.7g} to {self.wave[-1]:.7g} {self.wave_unit}" if pixels else ""
        return f"<SpectrumSet of {n} spectra of {pixels} pixels{span}, {self.frame}, {self.medium}>"

    def _repr_html_(self) -> str:
        facts = {name: value for name, value in self.meta.items() if isinstance(value, str | int | float)}
        facts |= {"flux unit": self.flux_unit or "none"}
        picture = picture_html(self, figsize=_SMALL) if self.flux.size else ""
        return facts_html(repr(self), facts) + picture + self.epochs.to_pandas().head(20).to_html()

    def to_specutils(self, number: int | None = None) -> specutils.Spectrum:
        """Return all spectra as one `specutils.Spectrum` with two axes (needs the extra ``specutils``).

        Its meta has ``frame``, ``medium``, ``mjd``, the mask bits as ``flags``, a table ``epochs``, and all of ours.

        Parameters
        ----------
        number
            Only this spectrum, with one axis.
        """
        from virtualobserver.data.foreign.spectra import spectra_to_specutils

        return spectra_to_specutils(self, number)

    @classmethod
    def from_specutils(cls, spectra: object, **facts: object) -> Self:
        """Build from a `specutils.Spectrum`, a list of them, or a `SpectrumCollection`, on one grid.

        Parameters
        ----------
        **facts
            ``frame``, ``medium`` and ``mjd``, where the meta does not say them; no default stands in.

        Raises
        ------
        DataError
            If a fact is missing, the grids differ, or the kind of the uncertainty is unknown.
        """
        from virtualobserver.data.foreign.spectra import spectra_from_specutils

        found = spectra_from_specutils(spectra, facts)
        return cls(**found | {"epochs": Table.from_astropy(found["epochs"])})

    def to_xarray(self) -> xarray.Dataset:
        """Return an `xarray.Dataset` over ``epoch`` and ``wave``; the epochs are coordinates, facts attributes."""
        from virtualobserver.data.foreign.arrays import spectra_to_xarray

        return spectra_to_xarray(self)

    @classmethod
    def from_xarray(cls, dataset: xarray.Dataset, **facts: object) -> Self:
        """Build from a dataset such as `to_xarray` gives.

        Raises
        ------
        DataError
            If a plane, or a unit, the frame or the medium, is neither there nor given.
        """
        from virtualobserver.data.foreign.arrays import spectra_from_xarray

        arrays, found = spectra_from_xarray(dataset)
        found |= facts
        names = ("wave_unit", "flux_unit", "frame", "medium")
        if missing := [name for name in names if name not in found]:
            msg = f"nothing says {', '.join(missing)} of the spectra; give them"
            raise DataError(msg)
        epochs = Table(arrays.pop("epochs"), found["epochs_units"], found.get("epochs_meta", {}))
        arrays |= {name: str(found[name]) for name in names}
        return cls(epochs=epochs, meta=found.get("meta", {}), **arrays)
