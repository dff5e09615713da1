"""FITS images, tables and headers: whole, plausible and verified, or refused with file, HDU and reason."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits as afits
from astropy.table import Table as AstropyTable

from virtualobserver.data.image import Image
from virtualobserver.data.table import Table
from virtualobserver.errors import DataError, InvalidFile
from virtualobserver.io.atomic import write_bytes
from virtualobserver.io.fits.headers import fits_header, lines_of, plain_header, structural
from virtualobserver.io.fits.keywords import Keyword, read_keywords, read_wcs
from virtualobserver.io.fits.planes import (
    KIND,
    Planes,
    as_variance,
    check_shape,
    find_planes,
    pixel_unit,
    say_unknown,
)
from virtualobserver.io.fits.structure import (
    MemoryFile,
    check_structure,
    first_image,
    plane_of,
    quiet,
    read_cards,
    wrong_sums,
)
from virtualobserver.maths.arrays import Array
from virtualobserver.typing import RecordDict

if TYPE_CHECKING:
    from astropy.table import MaskedColumn

__all__ = [
    "Keyword",
    "check_structure",
    "image_bytes",
    "part_names",
    "plain_header",
    "read_astropy_table",
    "read_header",
    "read_image",
    "read_keywords",
    "read_section",
    "read_table",
    "read_wcs",
    "structural",
    "write_image",
]


def part_names(path: Path | MemoryFile) -> dict[str, int]:
    """Return the names (EXTNAME) of the HDUs of a file and their numbers; only headers are read.

    HDUs without a name are left out. Files of one camera need not have the same parts in the same order: a part is
    known by its name.

    Raises
    ------
    InvalidFile
        If the file is not FITS or cut, or two HDUs have one name.
    """
    found: dict[str, int] = {}
    for number, cards in enumerate(read_cards(path, {"EXTNAME"})):
        said = str(cards.get("EXTNAME") or "").strip()
        if said in found:
            msg = f"{path}, HDU {number}: a second HDU of the name {said}; the first is HDU {found[said]}"
            raise InvalidFile(msg)
        if said:
            found[said] = number
    return found


def read_header(path: Path | MemoryFile, hdu: int | str = 0) -> RecordDict:
    """Read the header of one HDU, by its number or name; HISTORY and COMMENT become lists of lines.

    Raises
    ------
    InvalidFile
        If the file is not FITS, is cut or has no such HDU.
    """
    with _opened(path, hdu) as unit:
        return plain_header(unit.header)


def read_image(path: Path | MemoryFile, hdu: int | str | None = None, *, verify: bool = True) -> Image:
    """Read an image, with its variance and mask if they are there.

    The variance is the extension VARIANCE, or UNCERT as astropy writes it: of the kind its UTYPE says. One of an
    unknown kind is left out with a warning (`LostFact`). Extensions of observatories count too, see `find_planes`.

    Parameters
    ----------
    path
        FITS, plain, gzipped or tile-compressed.
    hdu
        Number of the HDU, or its name; by default the first that has two axes.
    verify
        Check CHECKSUM and DATASUM where present; of a part asked for by its name, those of that part.

    Raises
    ------
    InvalidFile
        If the file is not FITS, is cut, or a checksum is wrong.
    """
    sizes = check_structure(path, verify=verify and not isinstance(hdu, str))
    number = first_image(path, sizes) if hdu is None else hdu
    if verify and isinstance(number, str):
        _check_part(path, number)
    with quiet(path, number), path.open("rb") as stream, afits.open(stream, memmap=False) as units:
        unit = _pick(path, units, number)
        if unit.data is None or getattr(unit, "is_image", False) is False or not plane_of(unit.data.shape):
            msg = f"{path}, HDU {number}: not an image with two axes"
            raise InvalidFile(msg)
        header = plain_header(unit.header)
        # a part asked for by name is one of many, and none of its file's other parts is about it
        planes = find_planes(units, number) if not isinstance(number, str) else Planes()
        data = _native(unit.data).reshape(plane_of(unit.data.shape))
        variance = _plane(path, units, planes.variance, data.shape)
        mask = _plane(path, units, planes.mask, data.shape)
    say_unknown(path, planes)
    bunit = pixel_unit(header)
    return Image(
        data=data,
        variance=None if variance is None else as_variance(variance, planes.kind, planes.unit, bunit),
        mask=mask,
        header={key: value for key, value in header.items() if not structural(key)},
        unit=bunit,
    )


def _plane(
    path: Path | MemoryFile, units: afits.HDUList, number: int | None, shape: tuple[int, ...]
) -> Array | None:
    if number is None or units[number].data is None:
        return None
    check_shape(path, number, units[number].data.shape, shape)
    return _native(units[number].data)


def read_section(
    path: Path | MemoryFile, rows: slice, cols: slice | None = None, *, hdu: int | str | None = None
) -> Array:
    """Read a box of an image without the rest, of the HDU of a number or a name; checksums are not checked."""
    sizes = check_structure(path, verify=False)
    number = first_image(path, sizes) if hdu is None else hdu
    with quiet(path, number), path.open("rb") as stream, afits.open(stream, memmap=False) as units:
        unit = _pick(path, units, number)
        box = (rows, slice(None) if cols is None else cols)
        if len(unit.shape) == 2:
            return _native(unit.section[box])
        axes = iter(box)
        index = tuple(0 if length == 1 else next(axes) for length in unit.shape)
        return _native(unit.section[index])


def read_table(
    path: Path, hdu: int = 1, *, columns: Sequence[str] | None = None, verify: bool = True
) -> Table:
    """Read a binary or ASCII table.

    Parameters
    ----------
    columns
        Those wanted; by default all one-dimensional ones, the names of others are in ``meta["not_read"]``.

    Raises
    ------
    InvalidFile
        If the file is not FITS, is cut, a checksum is wrong, or a wanted column is not there.
    """
    table = read_astropy_table(path, hdu, verify=verify)
    names = (
        list(columns) if columns is not None else [name for name in table.colnames if table[name].ndim == 1]
    )
    if wrong := [name for name in names if name not in table.colnames or table[name].ndim != 1]:
        there = ", ".join(table.colnames)
        msg = f"{path}, HDU {hdu}: no one-dimensional column {', '.join(wrong)}; there are {there}"
        raise InvalidFile(msg)
    data = {name: _native(_filled(table[name])) for name in names}
    units = {name: str(table[name].unit) for name in names if table[name].unit is not None}
    meta = {key: value for key, value in read_header(path, hdu).items() if not structural(key)}
    if skipped := [name for name in table.colnames if name not in names]:
        meta["not_read"] = skipped
    return Table(data, units, meta)


def read_astropy_table(path: Path, hdu: int = 1, *, verify: bool = True) -> AstropyTable:
    """Read a table as astropy has it, after the structure was found sound."""
    check_structure(path, verify=verify)
    with quiet(path, hdu), path.open("rb") as stream, afits.open(stream, memmap=False) as units:
        unit = _pick(path, units, hdu)
        if not isinstance(unit, afits.BinTableHDU | afits.TableHDU):
            msg = f"{path}, HDU {hdu}: not a table"
            raise InvalidFile(msg)
        if loose := [
            column.name for column in unit.columns if str(column.format).lstrip("01")[:1] in {"P", "Q"}
        ]:
            msg = f"{path}, HDU {hdu}: columns of variable length are not read: {', '.join(loose)}"
            raise InvalidFile(msg)
        return AstropyTable.read(unit)


def write_image(path: Path, image: Image, *, history: Sequence[str] = ()) -> None:
    """Write an image atomically, with variance, mask, checksums and `history` as HISTORY cards."""
    write_bytes(path, image_bytes(image, history=history))


def image_bytes(image: Image, *, history: Sequence[str] = ()) -> bytes:
    """Return the bytes of a FITS file; the same image gives the same bytes."""
    cards = {key: value for key, value in image.header.items() if not structural(key)}
    lines = [*lines_of(cards.get("HISTORY")), *history]
    cards |= {"BUNIT": image.unit} | ({"HISTORY": lines} if lines else {})
    header = fits_header(cards)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        primary = afits.PrimaryHDU(_writable(image.data))
        for card in header.cards:
            primary.header.append(card, end=True)
        units = [primary]
        for name, plane in (("VARIANCE", image.variance), ("MASK", image.mask)):
            if plane is not None:
                units.append(afits.ImageHDU(_writable(plane), name=name))
                if name == "VARIANCE":
                    units[-1].header[KIND] = "VarianceUncertainty"
        for unit in units:
            unit.add_checksum(when="whole HDU")  # the default comment holds the date of writing
        stream = io.BytesIO()
        afits.HDUList(units).writeto(stream)
    return stream.getvalue()


def _check_part(path: Path | MemoryFile, name: str) -> None:
    """Check the sums of one part of a file, without those of the others."""
    with (
        quiet(path, name),
        path.open("rb") as stream,
        afits.open(stream, memmap=False, disable_image_compression=True) as units,
    ):
        for _, key in wrong_sums([_pick(path, units, name)]):
            msg = f"{path}, HDU {name}: {key} is wrong, the bytes have changed; fetch it again"
            raise InvalidFile(msg)


@contextmanager
def _opened(path: Path | MemoryFile, hdu: int | str) -> Iterator[afits.HDUList]:
    check_structure(path, verify=False)
    with quiet(path, hdu), path.open("rb") as stream, afits.open(stream, memmap=False) as units:
        yield _pick(path, units, hdu)


def _pick(path: Path | MemoryFile, units: afits.HDUList, number: int | str) -> afits.ImageHDU:
    try:
        return units[number]
    except IndexError as error:
        msg = f"{path}: no HDU {number}; the file has {len(units)}"
        raise InvalidFile(msg) from error
    except KeyError as error:
        names = ", ".join(unit.name for unit in units if unit.name) or "none that has a name"
        msg = f"{path}: no HDU of the name {number}; there are {names}"
        raise InvalidFile(msg) from error


# --- values -----------------------------------------------------------------------------------------------


def _native(array: object) -> Array:
    values = np.array(array)
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _filled(column: MaskedColumn) -> Array:
    """Return a column with NaN for missing floats; missing whole numbers and text have no such value."""
    mask = getattr(column, "mask", None)
    if mask is None or not np.any(mask):
        return np.asarray(column)
    if column.dtype.kind in "iu":
        if np.abs(column.astype("f8")).max() > 2**53:
            msg = f"column {column.name!r} has missing values among numbers too long for a float"
            raise InvalidFile(msg)
        return np.asarray(column.astype("f8").filled(np.nan))
    if column.dtype.kind == "b":
        msg = f"column {column.name!r} has missing values among truths, which have no value for that"
        raise InvalidFile(msg)
    return np.asarray(column.filled(np.nan if column.dtype.kind in "fc" else ""))


def _writable(plane: Array) -> Array:
    if plane.dtype.kind == "b":
        return plane.astype("u1")
    if plane.dtype.kind not in "iuf" or (plane.dtype.kind == "f" and plane.dtype.itemsize not in {4, 8}):
        msg = f"FITS images hold whole numbers and floats of 32 or 64 bits, not {plane.dtype}; convert them"
        raise DataError(msg)
    return plane
