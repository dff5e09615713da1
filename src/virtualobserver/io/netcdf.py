"""Arrays and xarray datasets as netCDF files with checksums, written atomically."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import netCDF4
from numpy.typing import NDArray

from virtualobserver.errors import DataError, InvalidFile
from virtualobserver.io.atomic import replacing

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["read_netcdf", "write_netcdf", "write_variables"]

# The netCDF-C library may be used by one thread at a time, and netCDF4 lets go of Python's own lock
# while it works: two threads inside it at once end the process.
_ONE_AT_A_TIME = threading.RLock()
_PACKED: Mapping[str, Any] = {"fletcher32": True, "zlib": True, "complevel": 1, "shuffle": True}


def write_variables(
    variables: Mapping[str, tuple[tuple[str, ...], NDArray[Any], Mapping[str, Any]]], path: Path
) -> None:
    """Write arrays of numbers or text with fletcher32 checksums; an older file stays until it is complete.

    For those who have no dataset of xarray, which takes a second to import where Dask is installed.

    Parameters
    ----------
    variables
        Name to dimensions, array and attributes.

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
        for name, (dimensions, array, notes) in variables.items():
            for dimension, size in zip(dimensions, array.shape, strict=True):
                if dimension not in file.dimensions:
                    file.createDimension(dimension, size)
            text = array.dtype.kind == "U"
            fill = float("nan") if array.dtype.kind == "f" else None
            packing = {} if text else _PACKED
            made = file.createVariable(
                name, str if text else array.dtype, dimensions, fill_value=fill, **packing
            )
            made.setncatts(dict(notes))
            made[...] = array.astype(object) if text else array


def write_netcdf(dataset: xr.Dataset, path: Path) -> None:
    """Write `dataset` with fletcher32 checksums; an older file stays until the new one is complete.

    Raises
    ------
    DataError
        If a variable holds Python objects other than text.
    DiskFull
        If there is no room.
    """
    encoding: dict[Any, dict[str, Any]] = {}
    for name, variable in dataset.variables.items():
        if variable.dtype.kind == "O" and not all(isinstance(item, str) for item in variable.values.flat):
            msg = f"{path}: variable {name!r} holds Python objects; convert it to numbers or text"
            raise DataError(msg)
        if variable.dtype.kind in "biufmM" and variable.ndim:
            encoding[name] = dict(_PACKED)
    with replacing(path, needed=4096) as temp, _ONE_AT_A_TIME:
        dataset.to_netcdf(temp, engine="netcdf4", format="NETCDF4", encoding=encoding)


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
            return dataset.load()
    except (OSError, RuntimeError, ValueError) as error:
        msg = f"{path}: not a readable netCDF file ({error}); remake it"
        raise InvalidFile(msg) from error
