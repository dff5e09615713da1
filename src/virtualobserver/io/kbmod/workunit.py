"""WorkUnits: the files in which KBMOD keeps a stack of images with all it needs to search them.

Read and written without KBMOD, in one file or sharded (one more file per image). We write without loss unless
told otherwise: KBMOD's own default rounds variances to 0.01, which turns small ones into masked pixels.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from astropy.io import fits as afits

from virtualobserver.errors import DataError, InvalidFile
from virtualobserver.io.atomic import write_bytes
from virtualobserver.io.fits.structure import MemoryFile, quiet, silent
from virtualobserver.io.fits.timeless import timeless
from virtualobserver.io.kbmod.config import config_columns, config_of
from virtualobserver.io.kbmod.unit import WorkUnit
from virtualobserver.maths.shiftstack.images import gaussian_psf
from virtualobserver.maths.times import Site
from virtualobserver.typing import Record, RecordDict, Value

__all__ = [
    "WorkUnit",
    "WorkUnitHead",
    "read_workunit",
    "read_workunit_head",
    "read_workunit_image",
    "shard_bytes",
    "shard_path",
    "write_workunit",
]

_STEP: Final = 0.01  # of KBMOD's lossy compression
_LEAST_VARIANCE: Final = 0.5  # below it that step would be seen
_WCS_COLUMN: Final = "_WCSSTR_"
_SKIPPED: Final = frozenset(
    {"SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "EXTEND", "COMMENT", "HISTORY", ""}
)


_RUBIN: Final = Site(
    lon=-70.749417, lat=-30.244633, height=2662.75
)  # what KBMOD assumes where a file says nothing


def shard_path(path: Path, number: int) -> Path:
    """Return the file of one image of a sharded WorkUnit."""
    return path.with_name(f"{number}_{path.name}")


def write_workunit(path: Path, unit: WorkUnit, *, lossless: bool = True, sharded: bool = False) -> None:
    """Write a WorkUnit that KBMOD reads.

    Parameters
    ----------
    path
        A FITS file; of a sharded one the file with configuration and table, written last.
    lossless
        GZIP_2 of the exact floats; else RICE_1 in steps of 0.01 as KBMOD writes by default.

    Raises
    ------
    DataError
        If a variance is too small for the lossy form, the stack is empty, or there is a global world
        coordinate system although the images were not resampled to it (KBMOD then fails).
    """
    _check_writable(unit, lossless=lossless)
    head = [_primary(unit), _config_table(unit), _meta_table(unit)]
    images = (_image_units(unit, number, lossless=lossless) for number in range(len(unit.mjd)))
    if sharded:
        for number, four in enumerate(images):
            _write(shard_path(path, number), [afits.PrimaryHDU(), *four])
        _write(path, head)
    else:
        _write(path, [*head, *(one for four in images for one in four)])


@dataclass(frozen=True)
class WorkUnitHead:
    """What a WorkUnit says before its images are read.

    Parameters
    ----------
    number
        Of images.
    sharded
        Whether the images are in files of their own.
    config, meta, meta_wcs
        Search parameters, and the columns of IMG_META.
    common
        Site and common world coordinates: further fields of `WorkUnit`.
    """

    number: int
    sharded: bool
    config: Record
    meta: Mapping[str, list[Value]]
    meta_wcs: Mapping[str, list[Record | None]]
    common: Record


def read_workunit_head(path: str | Path) -> WorkUnitHead:
    """Read configuration and table of a WorkUnit, and no image.

    Raises
    ------
    InvalidFile
        If the file is no WorkUnit or is damaged.
    """
    path = Path(path)
    with quiet(path, 0), path.open("rb") as stream, afits.open(stream, memmap=False) as units:
        header = units[0].header
        if "NUMIMG" not in header or "REPRJCTD" not in header:
            msg = f"{path}, HDU 0: no NUMIMG or REPRJCTD; this is not a WorkUnit"
            raise InvalidFile(msg)
        number = int(header["NUMIMG"])
        config = config_of(units["KBMOD_CONFIG"].data) if "KBMOD_CONFIG" in units else {}
        meta, meta_wcs = _read_meta(units["IMG_META"].data) if "IMG_META" in units else ({}, {})
        sharded = number > 0 and f"SCI_{number - 1}" not in units
        return WorkUnitHead(number, sharded, config, meta, meta_wcs, _head_fields(header))


def read_workunit_image(
    path: str | Path | MemoryFile, number: int, *, config: Record | None = None
) -> WorkUnit:
    """Read one image of a WorkUnit, from the file that holds it: the whole one, or its shard.

    Raises
    ------
    InvalidFile
        If the file does not hold it or is damaged.
    """
    if not isinstance(path, MemoryFile):
        path = Path(path)
    with quiet(path, 0), path.open("rb") as stream, afits.open(stream, memmap=False) as units:
        mjd, science, variance, mask, psf, wcs, _ = _read_image(path, units, number, config or {})
        common = _head_fields(units[0].header) if "REPRJCTD" in units[0].header else {"observer": _RUBIN}
    return WorkUnit(
        np.array([mjd]), science[None], variance[None], mask[None], (psf,), wcs=(wcs,), config=dict(config or {}),
        **common,
    )  # fmt: skip


def read_workunit(path: str | Path) -> WorkUnit:
    """Read a WorkUnit, whole or sharded.

    A mask that is missing is made from what is not finite; a missing point spread function is the Gaussian of
    ``psf_val``; a site that is not given is Rubin's, as KBMOD has it.

    Raises
    ------
    InvalidFile
        If the file is no WorkUnit, is damaged or a shard is missing.
    """
    path = Path(path)
    head = read_workunit_head(path)
    images = []
    if head.sharded:
        for one in range(head.number):
            shard = shard_path(path, one)
            with quiet(shard, 0), shard.open("rb") as stream, afits.open(stream, memmap=False) as units:
                images.append(_read_image(shard, units, one, head.config))
    else:
        with quiet(path, 0), path.open("rb") as stream, afits.open(stream, memmap=False) as units:
            images = [_read_image(path, units, one, head.config) for one in range(head.number)]
    if not images:
        msg = f"{path}: a WorkUnit without images"
        raise InvalidFile(msg)
    columns = list(zip(*images, strict=True))
    order = np.argsort(np.array(columns[0]), kind="stable")
    mjd, science, variance, mask = (np.array([column[i] for i in order]) for column in columns[:4])
    psf, wcs, indices = (tuple(column[i] for i in order) for column in columns[4:])
    return WorkUnit(
        mjd, science, variance, mask, psf, wcs=wcs, indices=indices, meta=head.meta, meta_wcs=head.meta_wcs,
        config=head.config, **head.common,
    )  # fmt: skip


# --- writing ----------------------------------------------------------------------------------------------


def _check_writable(unit: WorkUnit, *, lossless: bool) -> None:
    if not len(unit.mjd):
        msg = "a WorkUnit without images cannot be written"
        raise DataError(msg)
    with np.errstate(invalid="ignore"):
        seen = unit.variance[(unit.mask == 0) & np.isfinite(unit.variance)]
    if not lossless and seen.size and float(seen.min()) < _LEAST_VARIANCE:
        msg = f"variances down to {float(seen.min()):g} would be rounded to {_STEP}; write it lossless"
        raise DataError(msg)
    if unit.global_wcs is not None and not unit.reprojected:
        msg = "a common world coordinate system needs images resampled to it; give each image its own"
        raise DataError(msg)


def _primary(unit: WorkUnit) -> afits.PrimaryHDU:
    primary = afits.PrimaryHDU()
    primary.header["NUMIMG"] = len(unit.mjd)
    primary.header["NCON"] = unit.n_constituents
    primary.header["REPRJCTD"] = unit.reprojected
    primary.header["REPFRAME"] = unit.frame or None
    primary.header["BARY"] = unit.distance
    primary.header["OBS_LAT"] = unit.observer.lat
    primary.header["OBS_LON"] = unit.observer.lon
    primary.header["OBS_ELEV"] = unit.observer.height
    if unit.global_wcs is not None:
        _add_wcs(primary.header, unit.global_wcs)
    return primary


def _add_wcs(header: afits.Header, cards: Record | None) -> None:
    """Add world coordinates; the size goes into DIMM1 and DIMM2, for NAXISn belong to the data."""
    if cards is None:
        return
    for axis in (1, 2):
        if f"NAXIS{axis}" in cards:
            header[f"DIMM{axis}"] = cards[f"NAXIS{axis}"]
    for key, value in cards.items():
        if key not in _SKIPPED and not key.startswith("DIMM"):
            header[key] = value


def _config_table(unit: WorkUnit) -> afits.BinTableHDU:
    columns = [
        afits.Column(name=name, format=f"{max(len(text), 1)}A", array=np.array([text]))
        for name, text in config_columns(unit.config).items()
    ]
    return afits.BinTableHDU.from_columns(columns, name="KBMOD_CONFIG")


def _meta_table(unit: WorkUnit) -> afits.BinTableHDU:
    columns = []
    for name, given in unit.meta.items():
        values = list(given)
        if len(values) != unit.n_constituents:
            msg = f"column {name} has {len(values)} values for {unit.n_constituents} constituents"
            raise DataError(msg)
        if any(value is not None for value in values):
            columns.append(_column(name, values))
    stored = dict(unit.meta_wcs)
    if "per_image_wcs" not in stored and any(unit.wcs) and not unit.reprojected:
        stored["per_image_wcs"] = unit.wcs
    for name, cards in stored.items():
        if any(one is not None for one in cards):
            texts = ["" if one is None else json.dumps(dict(one)) for one in cards]
            columns.append(_column(_WCS_COLUMN + name, texts))
    if not columns:
        columns.append(_column("data_loc", [f"image_{number}" for number in range(unit.n_constituents)]))
    return afits.BinTableHDU.from_columns(columns, name="IMG_META")


def _column(name: str, values: list[Value]) -> afits.Column:
    if all(isinstance(value, bool | np.bool_) for value in values):
        return afits.Column(name=name, format="L", array=np.array(values))
    if all(isinstance(value, int | np.integer) for value in values):
        return afits.Column(name=name, format="K", array=np.array(values))
    if all(value is None or isinstance(value, int | float | np.number) for value in values):
        numbers = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
        return afits.Column(name=name, format="D", array=numbers)
    texts = np.array(["" if value is None else str(value) for value in values])
    return afits.Column(name=name, format=f"{max(texts.dtype.itemsize // 4, 1)}A", array=texts)


def _image_units(unit: WorkUnit, number: int, *, lossless: bool) -> list[afits.ImageHDU]:
    packing: RecordDict = {"compression_type": "GZIP_2", "quantize_level": 0}
    if not lossless:
        packing = {"compression_type": "RICE_1", "quantize_level": -_STEP}
    science, variance = unit.science[number], unit.variance[number]
    bad = (unit.mask[number] != 0) | ~np.isfinite(science) | ~np.isfinite(variance)
    header = afits.Header()
    header["MJD"] = float(unit.mjd[number])
    _add_wcs(header, unit.wcs[number])
    units = []
    for name, plane in (("SCI", science), ("VAR", variance)):
        values = np.where(bad, np.float32(np.nan), plane).astype(np.float32)
        units.append(
            afits.CompImageHDU(
                values, header.copy(), name=f"{name}_{number}", tile_shape=(1, values.shape[1]), **packing
            )
        )
    units[0].header["NIND"] = len(unit.indices[number])
    for place, index in enumerate(unit.indices[number]):
        units[0].header[f"IND_{place}"] = index
    units.append(afits.ImageHDU(bad.astype(np.int8), header.copy(), name=f"MSK_{number}"))
    units.append(afits.ImageHDU(unit.psf[number].astype(np.float32), name=f"PSF_{number}"))
    return units


def shard_bytes(unit: WorkUnit, number: int) -> bytes:
    """Return the bytes of the file of one image of a sharded WorkUnit, without loss."""
    return _bytes([afits.PrimaryHDU(), *_image_units(unit, number, lossless=True)])


def _write(path: Path, units: list[afits.ImageHDU]) -> None:
    write_bytes(path, _bytes(units))


def _bytes(units: list[afits.ImageHDU]) -> bytes:
    stream = io.BytesIO()
    with silent():
        afits.HDUList(units).writeto(stream)
    return timeless(stream.getvalue())


# --- reading ----------------------------------------------------------------------------------------------


def _head_fields(header: afits.Header) -> RecordDict:
    def value(key: str) -> Value:
        found = header.get(key)
        return None if found is None or isinstance(found, afits.card.Undefined) or found == "" else found

    site = [value(key) for key in ("OBS_LON", "OBS_LAT", "OBS_ELEV")]
    cards = _wcs_cards(header)
    return {
        "observer": _RUBIN if None in site else Site(*(float(one) for one in site)),
        "reprojected": bool(header["REPRJCTD"]),
        "frame": str(value("REPFRAME") or ""),
        "distance": None if value("BARY") is None else float(value("BARY")),
        "global_wcs": cards,
    }


_OWN: Final = frozenset(
    [
        "XTENSION", "PCOUNT", "GCOUNT", "EXTNAME", "MJD", "NIND", "BSCALE", "BZERO", "NUMIMG", "NCON", "REPRJCTD",
        "REPFRAME", "BARY", "OBS_LAT", "OBS_LON", "OBS_ELEV", "CHECKSUM", "DATASUM", "DIMM1", "DIMM2", "ZBLANK",
    ]
)  # fmt: skip


def _wcs_cards(header: afits.Header) -> RecordDict | None:
    """Return the world coordinate cards of a header with NAXIS1 and NAXIS2, or None if it has none."""
    if "CTYPE1" not in header:
        return None
    cards = {
        key: header[key]
        for key in header
        if key not in _OWN and key not in _SKIPPED and not key.startswith("IND_")
    }
    for axis in (1, 2):
        size = header.get(f"DIMM{axis}", header.get(f"NAXIS{axis}"))
        if size is not None:
            cards[f"NAXIS{axis}"] = int(size)
    return cards


def _read_meta(rows: afits.FITS_rec) -> tuple[dict[str, list[Value]], dict[str, list[Record | None]]]:
    plain: dict[str, list[Value]] = {}
    coordinates: dict[str, list[Record | None]] = {}
    for name in rows.dtype.names or ():
        values = np.asarray(rows[name]).tolist()
        if name.startswith(_WCS_COLUMN):
            coordinates[name.removeprefix(_WCS_COLUMN)] = [json.loads(v) if v else None for v in values]
        else:
            plain[name] = values
    return plain, coordinates


def _read_image(
    path: Path | MemoryFile, units: afits.HDUList, number: int, config: Record
) -> tuple[Value, ...]:
    """Return mjd, science, variance, mask, psf, wcs, indices of one image."""
    for name in (f"SCI_{number}", f"VAR_{number}"):
        if name not in units:
            msg = f"{path}: no HDU {name}"
            raise InvalidFile(msg)
    unit = units[f"SCI_{number}"]
    if "MJD" not in unit.header:
        msg = f"{path}, HDU SCI_{number}: no MJD"
        raise InvalidFile(msg)
    science, variance = (
        np.asarray(units[f"{name}_{number}"].data, dtype=np.float32) for name in ("SCI", "VAR")
    )
    bad = ~np.isfinite(science) | ~np.isfinite(variance)
    if f"MSK_{number}" in units:
        bad = bad | (np.asarray(units[f"MSK_{number}"].data) != 0)
    if f"PSF_{number}" in units:
        kernel = np.asarray(units[f"PSF_{number}"].data, dtype=np.float32)
    else:
        kernel = gaussian_psf(float(config.get("psf_val", 1.4)))
    indices = tuple(int(unit.header[f"IND_{k}"]) for k in range(int(unit.header.get("NIND", 0))))
    return (
        float(unit.header["MJD"]), science, variance, bad.astype(np.uint8), kernel,
        _wcs_cards(unit.header), indices or (number,),
    )  # fmt: skip
