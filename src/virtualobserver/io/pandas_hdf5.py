"""Tables in HDF5 files of pandas and astropy, read without ever unpickling."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import h5py
import numpy as np
import pandas as pd

from virtualobserver.columns import Column
from virtualobserver.conventions import LEFT_OUT
from virtualobserver.data.table import Table
from virtualobserver.errors import InvalidFile
from virtualobserver.io import hdf5
from virtualobserver.io.cells import MASK, put_on_masks
from virtualobserver.io.described import attrs_of, yaml_facts
from virtualobserver.typing import Record, RecordDict, Value

if TYPE_CHECKING:
    import tables

__all__ = ["read_hdf5", "write_hdf5"]

_ABOUT: Final = "__table_column_meta__"
_META: Final = "meta"
_SAID: Final = "columns"


def read_hdf5(path: Path) -> pd.DataFrame:
    """Read the only table of an HDF5 file written by pandas, astropy or this package.

    Raises
    ------
    InvalidFile
        If the file is cut, holds no table or several, links elsewhere, or would need unpickling.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            return _read(file, path)
    except InvalidFile:
        raise
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        msg = f"{path}: not a whole HDF5 table ({error}); fetch it again"
        raise InvalidFile(msg) from error


def write_hdf5(frame: pd.DataFrame, known: Mapping[str, Column], meta: Record) -> bytes:
    """Return the bytes of an HDF5 file with the one dataset ``table``.

    Where whole numbers, truths or texts are missing, a column NAME.mask says so, as astropy has it.
    """
    columns: RecordDict = {}
    for name in map(str, frame):
        series: Any = frame[name]
        missing = series.isna().to_numpy(dtype=bool)
        if series.dtype.kind == "f" and isinstance(series.dtype, np.dtype):
            columns[name] = series.to_numpy()
            continue
        if pd.api.types.is_integer_dtype(series.dtype):
            columns[name] = series.fillna(0).to_numpy(getattr(series.dtype, "numpy_dtype", series.dtype))
        elif pd.api.types.is_bool_dtype(series.dtype):
            columns[name] = series.fillna(value=False).to_numpy(bool)
        elif series.dtype == object or pd.api.types.is_string_dtype(series.dtype):
            columns[name] = series.where(~missing, "").astype(str).to_numpy().astype(str)
        else:
            columns[name] = series.to_numpy()
        if missing.any():
            columns[f"{name}{MASK}"] = missing
    said = {name: [column.ucd, column.description] for name, column in known.items()}
    units = {name: column.unit for name, column in known.items() if column.unit}
    table = Table(columns, units, {_META: dict(meta), _SAID: said})
    return hdf5.write_file_image([("table", hdf5.encode(table))])


def _described(table: Table) -> pd.DataFrame:
    """Return a table of ours as a frame, its masks put on."""
    columns: RecordDict = {}
    for name, values in table.columns.items():
        if name.endswith(MASK) and name.removesuffix(MASK) in table:
            continue
        mask = table.columns.get(f"{name}{MASK}")
        if values.dtype.kind == "U":
            texts = values.astype(object)
            texts[np.zeros(len(texts), bool) if mask is None else mask] = None
            columns[name] = pd.Series(texts, dtype=object)
        elif mask is None:
            columns[name] = values.copy()
        else:
            array: Any = pd.arrays.BooleanArray if values.dtype.kind == "b" else pd.arrays.IntegerArray
            columns[name] = array(values.copy(), mask.copy())
    frame = pd.DataFrame(columns)
    said = table.meta.get(_SAID, {})
    known = {
        name: Column(name, table.units.get(name, ""), *said.get(name, ("", ""))) for name in map(str, frame)
    }
    frame.attrs.update(attrs_of(known, table.meta.get(_META, {}) if _SAID in table.meta else table.meta))
    return frame


def _read(file: h5py.File, path: Path) -> pd.DataFrame:
    keys = [key for key in file if not key.endswith(_ABOUT)]
    if len(keys) != 1:
        msg = f"{path}: holds {len(keys)} keys ({', '.join(keys[:5])}), not the one table that is expected"
        raise InvalidFile(msg)
    hdf5.refuse_links(file, keys[0])
    node = file[keys[0]]
    if "vo" in node.attrs:
        table, _ = hdf5.read_block(file, keys[0])
        if not isinstance(table, Table):
            msg = f"{path}[{keys[0]}]: not a table"
            raise InvalidFile(msg)
        return _described(table)
    if isinstance(node, h5py.Dataset):
        return _with_facts(_read_records(node, path), file, keys[0] + "." + _ABOUT)
    for name in node:
        hdf5.refuse_links(file, f"{keys[0]}/{name}")
    if "table" in node:
        return _read_records(node["table"], path).drop(columns="index", errors="ignore")
    if "axis0" in node:
        return _read_fixed(node, path)
    msg = f"{path}[{keys[0]}]: a group that neither pandas nor astropy wrote as a table"
    raise InvalidFile(msg)


def _with_facts(frame: pd.DataFrame, file: h5py.File, key: str) -> pd.DataFrame:
    """Return a table of astropy with its gaps, units and facts."""
    put_on_masks(frame)
    if key in file:
        hdf5.refuse_links(file, key)
        hdf5.check_dataset(file[key].id)
        lines = [line.decode() if isinstance(line, bytes) else str(line) for line in file[key][()]]
        frame.attrs.update(attrs_of(*yaml_facts(lines)))
    return frame


def _read_records(node: tables.Node, path: Path) -> pd.DataFrame:
    """Read a compound dataset, as astropy and pandas (``format="table"``, ``data_columns=True``) write it."""
    _refuse_objects(node, path)
    hdf5.check_dataset(node.id)
    records = node[()]
    if records.dtype.names is None or any(name.startswith("values_block_") for name in records.dtype.names):
        msg = (
            f"{path}[{node.name}]: the column names are pickled, and nothing is unpickled here; "
            "write the table again as Parquet, or with data_columns=True"
        )
        raise InvalidFile(msg)
    plain = [name for name in records.dtype.names if records[name].ndim == 1]
    frame = pd.DataFrame({name: _plain(records[name]) for name in plain})
    if len(plain) < len(records.dtype.names):
        frame.attrs[LEFT_OUT] = {n: records[n].shape[1:] for n in records.dtype.names if n not in plain}
    return frame


def _read_fixed(node: tables.Node, path: Path) -> pd.DataFrame:
    """Read blocks of columns, as pandas (``format="fixed"``) writes them."""
    columns: RecordDict = {}
    for name in node:
        _refuse_objects(node[name], path)
        hdf5.check_dataset(node[name].id)
    names = _plain(node["axis0"][()])
    for number in range(sum(name.endswith("_items") for name in node)):
        items = _plain(node[f"block{number}_items"][()])
        values = node[f"block{number}_values"][()]
        for place, name in enumerate(items):
            columns[str(name)] = _plain(values[:, place])
    return pd.DataFrame({str(name): columns[str(name)] for name in names})


def _refuse_objects(node: tables.Node, path: Path) -> None:
    special = str(node.attrs.get("PSEUDOATOM", ""))
    if node.dtype.hasobject or node.attrs.get("CLASS") == b"VLARRAY" or "object" in special:
        msg = (
            f"{path}[{node.name}]: holds pickled Python objects, and nothing is unpickled here; "
            "write the table again as Parquet or CSV"
        )
        raise InvalidFile(msg)


def _plain(values: object) -> Value:
    array = np.asarray(values)
    if array.dtype.kind == "S":
        return pd.Series(np.char.decode(array, "utf-8", "replace").tolist(), dtype=object)
    return np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False))
