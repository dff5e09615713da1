"""One exposure out of a file: ESO phase-3 tables (ADP), DRS s1d images, and whatever else follows the rules.

Columns are found by TUTYP, then by TUCD, last by name; medium, unit and frame are read and converted to air,
Å and the solar-system barycentre. What is missing or wrong becomes a quality bit with a reason.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from astropy.io import fits as afits
from numpy.typing import NDArray

from virtualobserver.conventions import SPECTRUM_MASK_FLAGGED
from virtualobserver.errors import InvalidFile
from virtualobserver.io.fits.files import check_structure
from virtualobserver.io.fits.structure import MemoryFile, quiet, wrong_sums
from virtualobserver.io.gzipped import plain_bytes
from virtualobserver.maths.spectra import flags
from virtualobserver.maths.spectra.lines import C_KM_S, shift, vacuum_to_air
from virtualobserver.maths.spectra.noise import spike_mask
from virtualobserver.maths.times import geocentric_velocity
from virtualobserver.observatories.harps.header import Facts, read_facts
from virtualobserver.observatories.harps.orders import are_orders, merged_s2d, merged_spectrum, s2d_medium
from virtualobserver.observatories.harps.scale import (
    MOVING_FRAMES,
    image_axis,
    medium_of_table,
    moving_velocity,
    scale_of,
    source_velocity,
    specsys_of,
    ucd_words,
)
from virtualobserver.typing import Record

__all__ = ["Exposure", "read_exposure"]

_TYPES: Final = {
    "wave": "data.spectralaxis.value",
    "flux": "data.fluxaxis.value",
    "error": "data.fluxaxis.accuracy.staterror",
    "quality": "data.fluxaxis.accuracy.qualitystatus",
}
_NAMES: Final = {
    "wave": (
        "WAVELENGTH_AIR",
        "WAVE_AIR",
        "LAMBDA_AIR",
        "WAVE",
        "WAVELENGTH",
        "LAMBDA",
        "WAVELENGTH_VAC",
        "WAVE_VAC",
    ),
    "flux": ("FLUX", "FLUX_REDUCED"),
    "error": ("ERR", "ERR_REDUCED", "ERROR"),
    "quality": ("QUAL", "QUALITY", "QUAL_FLAG", "DQ", "DQ_FLAG", "MASK", "BPM", "BADPIX", "FLAGS", "FLAG"),
}

_GAP: Final = 9
"""Steps between equal fluxes: noise of 1 % does not repeat a value ten times, whatever its digits."""

FloatArray = NDArray[np.float64]


@dataclass
class Exposure:
    """A spectrum in air wavelengths (Å, barycentric) with what its file says about it.

    ``quality`` and ``reasons`` grow while it is read; ``mask`` has the bits of
    `virtualobserver.conventions` (``SPECTRUM_MASK_…``).
    """

    name: str
    facts: Facts
    wave: FloatArray = field(default_factory=lambda: np.empty(0))
    flux: FloatArray = field(default_factory=lambda: np.empty(0))
    mask: NDArray[np.uint16] = field(default_factory=lambda: np.empty(0, dtype=np.uint16))
    flux_unit: str = ""
    medium: str = "air"
    frame: str = "barycentric"
    quality: int = 0
    reasons: list[str] = field(default_factory=list)

    def note(self, bit: int, reason: str) -> None:
        """Set a quality bit and say why."""
        self.quality |= bit
        if reason not in self.reasons:
            self.reasons.append(reason)


def read_exposure(
    content: bytes, name: str, windows: Sequence[tuple[float, float]] | None = None
) -> Exposure:
    """Read one spectrum.

    Parameters
    ----------
    content
        The file.
    name
        Its name, for messages.
    windows
        Stretches to keep, Å in air and barycentric; all if not given.

    Raises
    ------
    InvalidFile
        If it is not FITS, is cut, or holds no spectrum: with name, HDU and reason.
    """
    file = MemoryFile(plain_bytes(content, name), name)
    check_structure(file, verify=False)
    with quiet(file, 0), file.open() as stream, afits.open(stream, memmap=False) as units:
        wrong = wrong_sums(units)
        headers = [unit.header for unit in units]
        table, image = _places(units)
        # the primary header is the one of the exposure, that of the table knows about its columns
        own = headers[image if table is None else table]
        exposure = Exposure(name, read_facts(ChainMap(headers[0], own), name))
        for bit, reason in exposure.facts.problems:
            exposure.note(bit, reason)
        where = f"{name}, HDU {image}"
        if table is not None:
            pixels = _from_table(units[table], exposure, name, table)
        elif medium := s2d_medium(units):
            pixels = merged_s2d(units, name, windows)
            own, exposure.medium = {**own, "SPECSYS": "BARYCENT"}, medium
        elif are_orders(units[image]):
            pixels = merged_spectrum(units[image], where, windows)
            own = {**own, "SPECSYS": "TOPOCENT"}
            exposure.note(flags.QUALITY_ASSUMED, "e2ds: orders merged with a blaze computed for the grating")
        else:
            pixels = _from_image(units[image], exposure, where)
    if image:
        # the sums of a tile-compressed image are those of the table that holds it
        with file.open() as stream, afits.open(stream, memmap=False, disable_image_compression=True) as units:
            wrong = wrong_sums(units)
    _judge_sums(exposure, wrong, is_image=table is None)
    _convert(exposure, pixels, ChainMap(own, headers[0]), windows, is_image=table is None)
    return exposure


def _places(units: afits.HDUList) -> tuple[int | None, int]:
    """Return which HDU is the table of a spectrum, None if there is none, and which is the image otherwise.

    A table without columns of a spectrum tells something else, and only if there is nothing better is it taken.
    """
    tables = [n for n, unit in enumerate(units) if isinstance(unit, afits.BinTableHDU)]
    fit = [n for n in tables if units[n].header.get("ZTABLE") or _is_spectrum(units[n])]
    packed = next((n for n, unit in enumerate(units) if isinstance(unit, afits.CompImageHDU)), None)
    images = [n for n, unit in enumerate(units) if unit.is_image and unit.header.get("NAXIS", 0) > 0]
    image = packed if packed is not None else images[0] if images else 0
    return (fit[0] if fit else tables[0] if tables and not images else None), image


def _is_spectrum(unit: afits.BinTableHDU) -> bool:
    return all(_column(unit.header, unit.columns.names, kind) is not None for kind in ("wave", "flux"))


# --- the two forms ----------------------------------------------------------------------------------------


def _column(header: Record, names: Sequence[str], kind: str) -> str | None:
    """Return the name of the column of a kind: by utype, else by UCD, else by its usual names."""
    found: list[tuple[int, str]] = []
    for number, column in enumerate(names, 1):
        utype = str(header.get(f"TUTYP{number}", "")).strip().lower()
        if utype.endswith(_TYPES[kind]):
            found.append((1 if utype.startswith("eso:") else 0, column))
    if found:
        return min(found, key=lambda pair: pair[0])[1]
    for number, column in enumerate(names, 1):
        parts = ucd_words(header, number)
        is_error, is_flux = "stat.error" in parts, any(part.startswith("phot.flux") for part in parts)
        if (
            (kind == "wave" and parts[0] == "em.wl")
            or (kind == "flux" and is_flux and not is_error and "src.net" in parts)
            or (kind == "error" and is_flux and is_error)
            or (kind == "quality" and parts[0] in {"meta.code.qual", "meta.qual"})
        ):
            return column
    upper = {column.upper(): column for column in names}
    return next((upper[usual] for usual in _NAMES[kind] if usual in upper), None)


def _from_table(
    unit: afits.ImageHDU, exposure: Exposure, name: str, number: int
) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    header, names = unit.header, unit.columns.names
    if header.get("ZTABLE"):
        msg = f"{name}, HDU {number}: a table packed by fpack, which cannot be read as it is; unpack it with funpack"
        raise InvalidFile(msg)
    wave_name, flux_name = _column(header, names, "wave"), _column(header, names, "flux")
    if wave_name is None or flux_name is None:
        missing = "spectral axis" if wave_name is None else "flux"
        msg = f"{name}, HDU {number}: no column is the {missing}, by TUTYP, TUCD or name; it has {names}"
        raise InvalidFile(msg)
    wave = np.asarray(unit.data[wave_name], dtype=np.float64).ravel()
    flux = np.asarray(unit.data[flux_name], dtype=np.float64).ravel()
    if wave.size != flux.size or not wave.size:
        msg = f"{name}, HDU {number}: {wave.size} wavelengths for {flux.size} fluxes"
        raise InvalidFile(msg)
    bad = np.zeros(wave.size, dtype=bool)
    quality = _column(header, names, "quality")
    if quality is not None and np.asarray(unit.data[quality]).size == wave.size:
        bad = np.asarray(unit.data[quality]).ravel() != 0
        if bad.all():
            exposure.note(flags.QUALITY_DEAD, f"HDU {number}: column {quality} flags every pixel")
    column = names.index(wave_name) + 1
    scale, told = scale_of(str(header.get(f"TUNIT{column}", "")), wave)
    if told:
        exposure.note(flags.QUALITY_ASSUMED, f"HDU {number}: {told}")
    if scale != 1.0:
        exposure.note(flags.QUALITY_CONVERTED, f"wavelengths in {header.get(f'TUNIT{column}')} brought to Å")
    exposure.flux_unit = str(header.get(f"TUNIT{names.index(flux_name) + 1}", "")).strip()
    exposure.medium, told = medium_of_table(header, column, names)
    if told:
        exposure.note(flags.QUALITY_ASSUMED, told)
    return wave * scale, flux, bad


def _from_image(
    unit: afits.ImageHDU, exposure: Exposure, name: str
) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    if unit.data is None or unit.data.ndim != 1:
        shape = None if unit.data is None else unit.data.shape
        msg = f"{name}: neither a table with a spectrum nor an image with one axis (shape {shape})"
        raise InvalidFile(msg)
    flux = np.asarray(unit.data, dtype=np.float64)
    wave, exposure.medium, assumed = image_axis(unit.header, flux.size, name)
    for told in assumed:
        exposure.note(flags.QUALITY_ASSUMED, told)
    exposure.flux_unit = str(unit.header.get("BUNIT", "")).strip()
    return wave, flux, np.zeros(flux.size, dtype=bool)


# --- checks and conversions -------------------------------------------------------------------------------


def _judge_sums(exposure: Exposure, wrong: Sequence[tuple[int, str]], *, is_image: bool) -> None:
    """Tell a changed file from a DRS image that carries the DATASUM of the frame it was made from."""
    for number, key in wrong:
        if is_image and key == "DATASUM" and (number, "CHECKSUM") not in wrong:
            exposure.note(flags.QUALITY_DATASUM, "DATASUM is that of an earlier frame")
        else:
            exposure.note(flags.QUALITY_CHECKSUM, f"HDU {number}: {key} is wrong, the bytes have changed")


def _frame_velocity(exposure: Exposure, header: Record, *, is_image: bool) -> float:
    """Return by which velocity (km/s) wavelengths are to be shifted to become barycentric."""
    facts = exposure.facts
    specsys = specsys_of(header, exposure.name)
    exposure.frame = specsys.lower() or "barycent"
    if specsys == "HELIOCEN":
        exposure.note(flags.QUALITY_ASSUMED, "heliocentric, taken as barycentric: within 0.02 km/s")
    if specsys in MOVING_FRAMES or specsys in {"SOURCE", "GEOCENTR"}:
        v = _stated_velocity(specsys, exposure, header)
        exposure.note(flags.QUALITY_CONVERTED, f"wavelengths in the frame {specsys}; shifted by {v:.3f} km/s")
        return v
    if not specsys and not (is_image and facts.instrument == "HARPS"):
        exposure.note(flags.QUALITY_ASSUMED, "SPECSYS is missing; barycentric assumed")
    if specsys == "TOPOCENT":
        if not np.isfinite(facts.berv):
            exposure.note(
                flags.QUALITY_KEYWORD, "topocentric, and position or time for the correction missing"
            )
            return 0.0
        exposure.note(flags.QUALITY_CONVERTED, f"topocentric; shifted by {facts.berv:.3f} km/s")
        return facts.berv
    undone = 0.0
    for number in range(1, 10):
        # what IRAF's dopcor has taken out is put back
        found = re.match(r"\s*(-?[\d.]+)", str(header.get(f"DOPCOR{number:02d}", "")))
        undone += float(found[1]) if found else 0.0
    if undone:
        exposure.frame = "stellar"
        facts.rv = facts.rv if np.isfinite(facts.rv) else undone
        exposure.note(flags.QUALITY_CONVERTED, f"DOPCOR of {undone:.3f} km/s undone")
    return undone


def _stated_velocity(specsys: str, exposure: Exposure, header: Record) -> float:
    facts = exposure.facts
    if specsys == "SOURCE":
        return source_velocity(header, exposure.name)
    if specsys in MOVING_FRAMES:
        return moving_velocity(specsys, facts.ra, facts.dec, exposure.name)
    v = geocentric_velocity(facts.mjd, facts.ra, facts.dec)
    if not np.isfinite(v):
        msg = f"{exposure.name}: SPECSYS is GEOCENTR, and position or time for the correction are missing"
        raise InvalidFile(msg)
    return v


def _convert(
    exposure: Exposure,
    pixels: tuple[FloatArray, FloatArray, NDArray[np.bool_]],
    header: Record,
    windows: Sequence[tuple[float, float]] | None,
    *,
    is_image: bool,
) -> None:
    """Cut the windows with a margin, then bring medium and frame to ours and make the mask."""
    v = _frame_velocity(exposure, header, is_image=is_image)
    wave, flux, bad = pixels
    keep = np.isfinite(wave)
    if windows is not None:
        margin = 2.0 + 4000.0 * (abs(v) / C_KM_S)
        if exposure.medium == "vacuum":
            margin += 2.0
        near = np.zeros(wave.size, dtype=bool)
        for low, high in windows:
            near |= (wave > low - margin) & (wave < high + margin)
        keep &= near
    wave, flux, bad = wave[keep], flux[keep], bad[keep]
    if wave.size > 1 and not (np.diff(wave) > 0).all():
        order = np.argsort(wave, kind="stable")
        order = order[np.concatenate(([True], np.diff(wave[order]) > 0))]
        exposure.note(flags.QUALITY_CONVERTED, "wavelengths were not in increasing order; sorted")
        wave, flux, bad = wave[order], flux[order], bad[order]
    if exposure.medium == "vacuum" and wave.size:
        exposure.note(flags.QUALITY_CONVERTED, "vacuum wavelengths brought to air")
        if v:
            wave, v = shift(wave, v), 0.0
        wave = vacuum_to_air(wave)
    if v:
        wave = shift(wave, v)
    mask = spike_mask(flux)
    mask[bad] |= SPECTRUM_MASK_FLAGGED
    gaps = _gaps(flux) & (mask == 0)
    if gaps.any() and not gaps.all():
        exposure.note(flags.QUALITY_COVERAGE, f"{int(gaps.sum())} pixels of a gap, filled with one value")
        mask[gaps] |= SPECTRUM_MASK_FLAGGED
    exposure.wave, exposure.flux, exposure.mask = wave, flux, mask


def _gaps(flux: FloatArray) -> NDArray[np.bool_]:
    """Return the pixels of stretches that a program filled with one value, mostly zero, for want of data."""
    same = np.flatnonzero(np.diff(flux) == 0)
    gaps = np.zeros(flux.size, dtype=bool)
    for run in np.split(same, np.flatnonzero(np.diff(same) > 1) + 1):
        if run.size >= _GAP:
            gaps[run[0] : run[-1] + 2] = True
    return gaps
