"""Boxes of the images that this package wrote: only their bytes are read, the rest of the file is not touched."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from astropy.io import fits as afits

from virtualobserver.data.image import Image
from virtualobserver.errors import InvalidFile
from virtualobserver.io.fits.headers import plain_header, structural
from virtualobserver.io.fits.planes import as_variance, check_shape, find_planes, pixel_unit, say_unknown
from virtualobserver.io.fits.structure import check_structure, first_image, quiet
from virtualobserver.io.listing import mark
from virtualobserver.maths.arrays import Array
from virtualobserver.typing import Record

__all__ = ["read_cut"]

_PLANES: Final = ("variance", "mask")


@dataclass(frozen=True)
class _Plane:
    """Where the pixels of one HDU lie; `place` is None where they are packed and astropy has to read them.

    Unsigned numbers are stored with their first bit turned over, `unsigned`.
    """

    hdu: int
    place: int | None
    dtype: Any
    shape: tuple[int, int]
    unsigned: bool = False


@dataclass(frozen=True)
class _Layout:
    header: Record
    unit: str
    data: _Plane
    others: Mapping[str, _Plane]
    kind: str
    given: str


def read_cut(path: Path, rows: slice, cols: slice | None = None, *, hdu: int | None = None) -> Image:
    """Read a box of an image with its variance and mask; checksums, those of the whole, are not checked.

    Raises
    ------
    InvalidFile
        If the file is not FITS, is cut or holds no image.
    DataError
        If the box has steps.
    """
    try:
        state = path.stat()
    except OSError as error:
        msg = f"{path}: no such file"
        raise InvalidFile(msg) from error
    layout = _layout(path, hdu, mark(state))
    whole = cols if cols is not None else slice(None)
    corner = Image.corner(rows, whole, layout.data.shape)
    with quiet(path, layout.data.hdu), path.open("rb") as stream:
        data = _read(stream, layout.data, rows, whole)
        others = {name: _read(stream, plane, rows, whole) for name, plane in layout.others.items()}
    variance = others.get("variance")
    header = Image.moved(layout.header, *corner, shape=(data.shape[0], data.shape[1]))
    return Image(
        data,
        None if variance is None else as_variance(variance, layout.kind, layout.given, layout.unit),
        others.get("mask"),
        header,
        layout.unit,
    )


@lru_cache(maxsize=1024)
def _layout(path: Path, hdu: int | None, state: tuple[int, int, int]) -> _Layout:  # noqa: ARG001 - of the key
    sizes = check_structure(path, verify=False)
    number = first_image(path, sizes) if hdu is None else hdu
    with quiet(path, number), path.open("rb") as stream, afits.open(stream, memmap=False) as units:
        if number >= len(units) or len(sizes[number]) != 2:
            msg = f"{path}, HDU {number}: not an image with two axes"
            raise InvalidFile(msg)
        packed = not _begins_plain(path)
        planes = find_planes(units, number)
        places = {name: place for name in _PLANES if (place := getattr(planes, name)) is not None}
        for place in places.values():
            check_shape(path, place, sizes[place], sizes[number])
        header = plain_header(units[number].header)
        layout = _Layout(
            header={key: value for key, value in header.items() if not structural(key)},
            unit=pixel_unit(header),
            data=_plane(units, number, packed=packed),
            others={name: _plane(units, place, packed=packed) for name, place in places.items()},
            kind=planes.kind,
            given=planes.unit,
        )
    say_unknown(path, planes)
    return layout


def _begins_plain(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(6) == b"SIMPLE"


def _plane(units: afits.HDUList, number: int, *, packed: bool) -> _Plane:
    unit = units[number]
    shape = (int(unit.shape[0]), int(unit.shape[1]))
    header = unit.header
    bits = int(header["BITPIX"])
    zero = header.get("BZERO", 0)
    unsigned = bits in {16, 32} and zero == 2 ** (bits - 1)
    scaled = header.get("BSCALE", 1) != 1 or not (zero == 0 or unsigned)
    scaled |= bits > 0 and "BLANK" in header  # pixels without a value are NaN, as astropy makes them
    tiled = isinstance(unit, afits.CompImageHDU) or not isinstance(unit, afits.PrimaryHDU | afits.ImageHDU)
    if packed or scaled or tiled:
        return _Plane(number, None, None, shape)
    dtype = np.dtype(f">f{-bits // 8}" if bits < 0 else "u1" if bits == 8 else f">i{bits // 8}")
    return _Plane(number, int(unit.fileinfo()["datLoc"]), dtype, shape, unsigned)


def _read(stream: BinaryIO, plane: _Plane, rows: slice, cols: slice) -> Array:
    if plane.place is None:
        stream.seek(0)
        with afits.open(stream, memmap=False) as units:
            return _native(np.array(units[plane.hdu].section[rows, cols]))
    ny, nx = plane.shape
    first, last, _ = rows.indices(ny)
    if last <= first:
        return _native(np.empty(plane.shape, plane.dtype)[rows, cols][:0])
    stride = nx * plane.dtype.itemsize
    content = os.pread(stream.fileno(), (last - first) * stride, plane.place + first * stride)
    values = _native(np.frombuffer(content, plane.dtype).reshape(last - first, nx)[:, cols])
    if plane.unsigned:
        kind = np.dtype(f"u{plane.dtype.itemsize}")
        values = values.view(kind) ^ kind.type(1 << (8 * kind.itemsize - 1))
    return values


def _native(values: Array) -> Array:
    return np.array(values, dtype=values.dtype.newbyteorder("="))
