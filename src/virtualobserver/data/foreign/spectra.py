"""Sets of spectra as objects of specutils, and back."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from virtualobserver.data.foreign.columns import unit_text
from virtualobserver.data.foreign.images import bits_of, variance_of
from virtualobserver.data.foreign.seen import Spectra
from virtualobserver.data.units import unit_of
from virtualobserver.errors import DataError, LostFact
from virtualobserver.maths.arrays import Array
from virtualobserver.typing import Record, RecordDict

if TYPE_CHECKING:
    import specutils

__all__ = ["spectra_from_specutils", "spectra_to_specutils"]

_TEXTS: Final = ("frame", "medium")
_FLAGS: Final = "flags"
_EPOCHS: Final = "epochs"


def spectra_to_specutils(spectra: Spectra, number: int | None) -> specutils.Spectrum:
    """Return one spectrum, or all; see `SpectrumSet.to_specutils`."""
    import specutils
    from astropy.nddata import StdDevUncertainty

    rows: slice | int = slice(None) if number is None else number
    epochs = spectra.epochs.to_astropy()
    meta: RecordDict = dict(spectra.meta)
    if taken := {*_TEXTS, _FLAGS, _EPOCHS, "mjd"} & set(meta):
        msg = f"the meta of the spectra has the keys {', '.join(sorted(taken))}, which say something else in specutils"
        raise DataError(msg)
    meta |= {"frame": spectra.frame, "medium": spectra.medium, _FLAGS: spectra.mask[rows].copy()}
    meta["mjd"] = spectra.mjd.copy() if number is None else float(spectra.mjd[number])
    meta[_EPOCHS] = epochs if number is None else epochs[[number]]
    return specutils.Spectrum(
        flux=spectra.flux[rows] * unit_of(spectra.flux_unit),
        spectral_axis=spectra.wave * unit_of(spectra.wave_unit),
        uncertainty=StdDevUncertainty(spectra.error[rows].copy()),
        mask=spectra.mask[rows] != 0,
        meta=meta,
        spectral_axis_index=0 if number is not None else 1,
    )


def spectra_from_specutils(given: object, facts: Record) -> RecordDict:
    """Return the fields of a `SpectrumSet` of one spectrum, many, or a collection; see `SpectrumSet.from_specutils`."""
    parts = list(given) if isinstance(given, Sequence) else [given]
    if not parts:
        msg = "a set of no spectra has no wavelengths; give at least one"
        raise DataError(msg)
    found = [_fields_of(part, facts) for part in parts]
    first = found[0]
    for number, one in enumerate(found[1:], 1):
        if not np.array_equal(one["wave"], first["wave"]) or any(
            one[name] != first[name] for name in ("wave_unit", "flux_unit", *_TEXTS)
        ):
            msg = f"spectrum {number} has other wavelengths, units, frame or medium than the first; bring them to one"
            raise DataError(msg)
    for name in ("flux", "error", "mask"):
        first[name] = np.concatenate([one[name] for one in found])
    if len(found) > 1:
        from astropy.table import vstack

        first[_EPOCHS] = vstack([one[_EPOCHS] for one in found], metadata_conflicts="silent")
        if any(one["meta"] != first["meta"] for one in found):
            first["meta"] = {"spectra": [one["meta"] for one in found]}
    return first


def _fields_of(spectrum: specutils.Spectrum, facts: Record) -> RecordDict:
    meta = dict(spectrum.meta or {})
    flux = np.atleast_2d(np.asarray(spectrum.flux.value))
    axis = np.asarray(spectrum.spectral_axis.value)
    if axis.ndim == 2 and (axis == axis[0]).all():
        axis = axis[0]  # a SpectrumCollection has an axis a spectrum
    if flux.ndim != 2 or axis.shape != flux.shape[1:]:
        msg = f"fluxes of shape {flux.shape} on wavelengths of {axis.shape}: a set has one grid; resample them first"
        raise DataError(msg)
    fields: RecordDict = {"wave": axis, "wave_unit": unit_text(spectrum.spectral_axis.unit), "flux": flux}
    fields["flux_unit"] = unit_text(spectrum.flux.unit)
    if np.any(np.asarray(getattr(spectrum, "redshift", 0.0)) != 0):
        msg = "a set of spectra holds no redshift beside its wavelengths; that of this object is left out"
        warnings.warn(msg, LostFact, stacklevel=5)
    fields["error"] = _error(spectrum, flux.shape)
    mask, flags = (
        None if one is None else np.atleast_2d(one) for one in (spectrum.mask, meta.pop(_FLAGS, None))
    )
    bits = bits_of(mask, flags, flux.shape)
    fields["mask"] = np.zeros(flux.shape, np.uint8) if bits is None else bits
    for name in _TEXTS:
        said = facts.get(name, meta.pop(name, None))
        if not said:
            msg = f"nothing says the {name} of the spectra; give {name}=..."
            raise DataError(msg)
        fields[name] = str(said)
    fields[_EPOCHS] = _epochs(meta.pop("mjd", None), meta.pop(_EPOCHS, None), facts, len(flux))
    return fields | {"meta": meta}


def _error(spectrum: specutils.Spectrum, shape: tuple[int, ...]) -> Array:
    from astropy.nddata import StdDevUncertainty

    given = spectrum.uncertainty
    if isinstance(given, StdDevUncertainty) and given.unit in {None, spectrum.flux.unit}:
        return np.array(given.array).reshape(shape)  # the very same digits
    variance = variance_of(given, str(spectrum.flux.unit))
    # what comes without an uncertainty has an unknown one, not none
    return np.full(shape, np.nan) if variance is None else np.sqrt(variance).reshape(shape)


def _epochs(mjd: object, epochs: object, facts: Record, n: int) -> object:
    from astropy.table import Table

    if epochs is not None and "mjd" not in facts:
        return epochs
    times = facts.get("mjd", mjd)
    if times is None or np.size(times) != n:
        msg = f"{n} spectra need as many times; give mjd=... (middle of the exposure, UTC)"
        raise DataError(msg)
    table = Table({"mjd": np.atleast_1d(np.asarray(times, dtype=np.float64))})
    table["mjd"].unit = "d"
    return table
