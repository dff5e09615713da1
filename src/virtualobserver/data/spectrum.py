"""Sets of spectra on one grid."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from numpy.typing import NDArray

from virtualobserver.data.table import Table, freeze
from virtualobserver.errors import DataError

if TYPE_CHECKING:
    import specutils

__all__ = ["SpectrumSet"]


@dataclass(frozen=True, eq=False)
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

    wave: NDArray[Any]
    flux: NDArray[Any]
    error: NDArray[Any]
    mask: NDArray[Any]
    epochs: Table
    wave_unit: str = "Angstrom"
    flux_unit: str = ""
    frame: str = "barycentric"
    medium: str = "air"
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "meta", copy.deepcopy(dict(self.meta)))
        for name in ("wave", "flux", "error", "mask"):
            object.__setattr__(self, name, freeze(getattr(self, name)))
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
    def mjd(self) -> NDArray[Any]:
        """Middle of each exposure, MJD (UTC), shape (n_spectrum,)."""
        return self.epochs["mjd"]

    def cut(self, rows: slice | None = None, cols: slice | None = None) -> Self:
        """Return some of the spectra, and some of their pixels."""
        rows, cols = rows or slice(None), cols or slice(None)
        planes = {name: getattr(self, name)[rows, cols] for name in ("flux", "error", "mask")}
        return replace(self, wave=self.wave[cols], epochs=self.epochs.take(rows), **planes)

    def to_specutils(self, number: int = 0) -> specutils.Spectrum:
        """Return one spectrum as `specutils.Spectrum` (needs the extra ``specutils``)."""
        import specutils
        from astropy.nddata import StdDevUncertainty
        from astropy.units import Unit

        return specutils.Spectrum(
            flux=self.flux[number] * Unit(self.flux_unit),
            spectral_axis=self.wave * Unit(self.wave_unit),
            uncertainty=StdDevUncertainty(self.error[number]),
            mask=self.mask[number] != 0,
        )
