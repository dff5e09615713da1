"""Arrays and xarray datasets as netCDF files with checksums, written atomically."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import netCDF4

from virtualobserver.errors import DataError, InvalidFile
from virtualobserver.io.atomic import replacing
from virtualobserver.io.sizes import check_claim
from virtualobserver.maths.arrays import Array
from virtualobserver.typing import Record, RecordDict

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["read_attributes", "read_netcdf", "write_netcdf", "write_variables"]

# The netCDF-C library may be used by one thread at a time, and netCDF4 lets go of Python's own lock
# while it works: two threads inside it at once end the process.
_ONE_AT_A_TIME = threading.RLock()
_NAME = re.compile(r"[^\W][^/\x00-\x1f\x7f]*(?<! )")
"""What netCDF-C takes for a name (its manual, section on naming): a letter, digit or underscore first."""
_PACKED: Record = {"fletcher32": True, "zlib": True, "complevel": 1, "shuffle": True}


def write_variables(
    variables: Mapping[str, tuple[tuple[str, ...], Array, Record]],
    path: Path,
    *,
    attributes: Record | None = None,
) -> None:
    """Write arrays of numbers or text with fletcher32 checksums; an older file stays until it is complete.

    For those who have no dataset of xarray, which takes a second to import where Dask is installed.

    Parameters
    ----------
    variables
        Name to dimensions, array and attributes.
    attributes
        Of the whole file: where it comes from, see `read_attributes`.

    Raises
    ------
    DiskFull
        If there is no room.
    """
    with (
        replacing(path, needed=4096) as temp,
        _ONE_AT_A_TIME,
        netCDF4.Dataset(temp, "w", format="NETCDF4") as file,
    ):
        file.setncatts(dict(attributes or {}))
        for name, (dimensions, array, notes) in variables.items():
            for dimension, size in zip(dimensions, array.shape, strict=True):
                if dimension not in file.dimensions:
                    file.createDimension(dimension, size)
            text = array.dtype.kind == "U"
            # a coordinate has no missing values, and no mark for them
            fill = float("nan") if array.dtype.kind == "f" and dimensions != (name,) else None
            packing = {} if text else _PACKED
            made = file.createVariable(
                name, str if text else array.dtype, dimensions, fill_value=fill, **packing
            )
            made.setncatts(dict(notes))
            made[...] = array.astype(object) if text else array


def read_attributes(path: Path) -> RecordDict:
    """Return the attributes of a file without reading what it holds.

    Raises
    ------
    InvalidFile
        If there is no file, or it is not netCDF or cut.
    """
    try:
        with _ONE_AT_A_TIME, netCDF4.Dataset(path) as file:
            return {name: file.getncattr(name) for name in file.ncattrs()}
    except (OSError, RuntimeError) as error:
        msg = f"{path}: not a readable netCDF file ({error}); remake it"
        raise InvalidFile(msg) from error


def write_netcdf(dataset: xr.Dataset, path: Path) -> None:
    """Write `dataset` with fletcher32 checksums; an older file stays until the new one is complete.

    Raises
    ------
    DataError
        If a variable has a name or holds something that netCDF has no place for.
    DiskFull
        If there is no room.
    """
    encoding: dict[Any, RecordDict] = {}
    for name, variable in dataset.variables.items():
        if wrong := _not_netcdf(str(name), variable):
            msg = f"{path}: variable {name!r} {wrong}"
            raise DataError(msg)
        if variable.dtype.kind in "biufmM" and variable.ndim:
            # NaN, which every float holds, is the only mark of a missing one
            fill = {"_FillValue": None if name in dataset.dims else float("nan")}
            encoding[name] = dict(_PACKED) | (fill if variable.dtype.kind == "f" else {})
    with replacing(path, needed=4096) as temp, _ONE_AT_A_TIME:
        dataset.to_netcdf(temp, engine="netcdf4", format="NETCDF4", encoding=encoding)


def _not_netcdf(name: str, variable: xr.Variable) -> str:
    """Return why a variable cannot be in a netCDF file, as the end of a sentence; empty if it can."""
    if not _NAME.fullmatch(name):
        return "has a name that netCDF does not know: letters, digits and blanks, no slash; rename it"
    kind, size = variable.dtype.kind, variable.dtype.itemsize
    if kind == "V":
        return "has fields in its values; give each as a variable of its own"
    if kind == "c" or (kind == "f" and size not in {4, 8}):
        return f"is of the type {variable.dtype}, which netCDF has not; convert it to floats of 32 or 64 bits"
    if kind in "mM" and "units" in variable.attrs:
        return "holds times, whose unit netCDF itself says; take the entry out of units"
    return _no_text(list(variable.values.flat)) if kind in "OU" else ""


def _no_text(texts: list[object]) -> str:
    for text in texts:
        if not isinstance(text, str):
            return "holds Python objects; convert it to numbers or text"
        if "\0" in text or not _whole(text):
            return f"holds {text!r}, of which netCDF keeps a part only; mend it"
    return ""


def _whole(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def read_netcdf(path: Path) -> xr.Dataset:
    """Read a whole dataset into memory; the file is closed again.

    Raises
    ------
    InvalidFile
        If the file is not netCDF, is cut, or a checksum in it is wrong.
    """
    import xarray as xr

    try:
        with _ONE_AT_A_TIME, xr.open_dataset(path, engine="netcdf4") as dataset:
            check_claim(sum(part.nbytes for part in dataset.variables.values()), path.stat().st_size, path)
            return dataset.load()
    except InvalidFile:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        msg = f"{path}: not a readable netCDF file ({error}); remake it"
        raise InvalidFile(msg) from error
