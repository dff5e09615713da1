"""Containers and raw bytes in the form that is written: plain arrays and canonical attributes."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from virtualobserver.data.spectrum import SpectrumSet
from virtualobserver.data.table import Table
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.errors import DataError, InvalidFile
from virtualobserver.maths.arrays import Array
from virtualobserver.typing import Record, RecordDict, Value

__all__ = ["PLANES", "Block", "checksum", "decode", "encode"]

PLANES: Final = ("wave", "flux", "error", "mask")
_WORTH: Final = 0.8  # compressed raw bytes are kept if they are this much smaller


@dataclass(frozen=True)
class Block:
    """A container ready to be written: canonical attributes and arrays.

    `known` is the checksum of raw bytes, where it is known: of packed ones they would have to be unpacked again.
    """

    kind: str
    header: bytes
    arrays: Mapping[str, Array]
    known: str = ""

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays and the attributes."""
        return len(self.header) + sum(array.nbytes for array in self.arrays.values())

    def checksum(self) -> str:
        """SHA-256 over the canonical attributes and the bytes of the arrays, or over the raw bytes."""
        if self.known:
            return self.known
        digest = hashlib.sha256()
        if self.kind == "raw":
            digest.update(_unpack(json.loads(self.header), self.arrays[""]))
            return digest.hexdigest()
        digest.update(self.header)
        for name, array in self.arrays.items():
            digest.update(f"\0{name}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).view(np.uint8).data if array.nbytes else b"")
        return digest.hexdigest()


def checksum(container: Table | SpectrumSet | bytes) -> str:
    """Return the SHA-256 (hex) of a container or of raw bytes; the same before and after a round trip.

    Raises
    ------
    DataError
        If the container holds Python objects or other things without a fixed binary form.
    """
    return encode(container).checksum()


def encode(container: Table | SpectrumSet | bytes) -> Block:
    """Turn a container, or raw bytes, into what is written.

    Raises
    ------
    DataError
        If the container holds Python objects or other things without a fixed binary form.
    """
    if isinstance(container, bytes):
        return _encode_bytes(container)
    if isinstance(container, SpectrumSet):
        return _encode_spectra(container)
    if isinstance(container, Table):
        facts, records = _encode_table(container)
        return Block(container.kind, _json(facts), {"": records})
    msg = f"{type(container).__name__} is not stored in HDF5; tables, light curves, spectra and bytes are"
    raise DataError(msg)


def decode(facts: Record, arrays: Mapping[str, Array]) -> Table | SpectrumSet | bytes:
    """Turn attributes and arrays, as read, back into a container or raw bytes."""
    if facts["kind"] == "raw":
        return _unpack(facts, arrays[""])
    if facts["kind"] == "spectrum":
        return _decode_spectra(facts, arrays)
    return _decode_table(facts, arrays[""])


# --- tables -----------------------------------------------------------------------------------------------


def _encode_table(table: Table) -> tuple[RecordDict, Array]:
    stored = {name: _stored(name, values) for name, values in table.columns.items()}
    logical = [[name, _logical(values, stored[name])] for name, values in table.columns.items()]
    fields = [(name, values.dtype) for name, values in stored.items()]
    records: Array = np.empty(len(table), np.dtype(fields or [("", np.dtype("u1"))]))
    for name, values in stored.items():
        records[name] = values
    facts: RecordDict = {"kind": table.kind, "dtype": logical}
    facts |= {"units": dict(table.units), "meta": dict(table.meta)}
    if isinstance(table, TimeSeries):
        facts |= {"band": table.band, "flux_unit": table.flux_unit}
    return facts, records


def _decode_table(facts: Record, records: Array) -> Table:
    columns = {name: _restore(records[name], kind) for name, kind in facts["dtype"]}
    common = {"columns": columns, "units": facts["units"], "meta": facts["meta"]}
    if facts["kind"] == "lightcurve":
        return TimeSeries(**common, band=facts["band"], flux_unit=facts["flux_unit"])
    return Table(**common)


def _stored(name: str, values: Array) -> Array:
    """Return `values` in the little-endian form that is written."""
    kind = values.dtype.kind
    if kind == "O":
        values, kind = _only_text(name, values), "U"
    if kind == "U":
        try:
            encoded = np.char.encode(values, "utf-8")
        except UnicodeEncodeError as error:
            msg = f"column {name!r} holds half a letter ({error.object!r}), which no text has; mend it"
            raise DataError(msg) from error
        return encoded if encoded.dtype.itemsize else encoded.astype("S1")
    if kind == "S":
        return values if values.dtype.itemsize else values.astype("S1")
    if kind == "b":
        return values.astype("u1")
    if kind in "mM":
        return values.astype("<i8")
    if kind in "iufc" and values.dtype.itemsize <= (16 if kind == "c" else 8):
        return values.astype(values.dtype.newbyteorder("<"), copy=False)
    msg = f"column {name!r} of type {values.dtype} has no fixed binary form; convert it to numbers or text"
    raise DataError(msg)


def _only_text(name: str, values: Array) -> Array:
    if all(isinstance(value, str) for value in values):
        return values.astype(str)
    wrong = next(value for value in values if not isinstance(value, str))
    msg = (
        f"column {name!r} holds Python objects ({type(wrong).__name__}); they would have to be pickled, "
        "which is refused: convert the column to numbers or text"
    )
    raise DataError(msg)


def _logical(values: Array, stored: Array) -> str:
    kind = values.dtype.kind
    if kind in "OU":
        return f"text{stored.dtype.itemsize}"
    return values.dtype.newbyteorder("<").str if kind in "bmM" else stored.dtype.str


def _restore(values: Array, logical: str) -> Array:
    if logical.startswith("text"):
        return np.char.decode(values, "utf-8")
    return np.ascontiguousarray(values).view(logical) if logical[1] in "bmM" else np.ascontiguousarray(values)


# --- spectra and bytes ------------------------------------------------------------------------------------


def _encode_spectra(spectra: SpectrumSet) -> Block:
    arrays = {name: _stored(name, getattr(spectra, name)) for name in PLANES}
    epochs, arrays["epochs"] = _encode_table(spectra.epochs)
    facts = {
        "kind": "spectrum",
        "epochs": epochs,
        "planes": {name: _logical(getattr(spectra, name), arrays[name]) for name in PLANES},
        "meta": dict(spectra.meta),
    }
    facts |= {name: getattr(spectra, name) for name in ("wave_unit", "flux_unit", "frame", "medium")}
    return Block("spectrum", _json(facts), arrays)


def _decode_spectra(facts: Record, arrays: Mapping[str, Array]) -> SpectrumSet:
    planes = {name: _restore(arrays[name], facts["planes"][name]) for name in PLANES}
    texts = {name: facts[name] for name in ("wave_unit", "flux_unit", "frame", "medium")}
    fields: RecordDict = {**planes, **texts, "meta": facts["meta"]}
    return SpectrumSet(epochs=_decode_table(facts["epochs"], arrays["epochs"]), **fields)


def _encode_bytes(content: bytes) -> Block:
    packed = zlib.compress(content, 4) if len(content) > 200 else content
    pays = len(packed) < _WORTH * len(content)
    facts = {"kind": "raw", "encoding": "zlib" if pays else "", "size": len(content)}
    arrays = {"": np.frombuffer(packed if pays else content, np.uint8)}
    return Block("raw", _json(facts), arrays, known=hashlib.sha256(content).hexdigest())


def _unpack(facts: Record, array: Array) -> bytes:
    content = array.tobytes()
    if facts["encoding"] != "zlib":
        return content
    try:
        # the size is a bound, so a damaged or hostile stream cannot fill the memory
        return zlib.decompressobj().decompress(content, max(1, facts["size"]))
    except zlib.error as error:
        msg = f"compressed bytes are damaged ({error})"
        raise InvalidFile(msg) from error


def _json(facts: Record) -> bytes:
    def plain(value: object) -> Value:
        if isinstance(value, np.generic | np.ndarray):
            return value.tolist()
        if isinstance(value, Path):
            return str(value)
        if isinstance(value, Mapping):
            return dict(value)
        if hasattr(value, "isoformat"):
            return value.isoformat()
        msg = f"{type(value).__name__} is not a JSON-like fact"
        raise TypeError(msg)

    try:
        return json.dumps(facts, sort_keys=True, separators=(",", ":"), default=plain).encode()
    except (TypeError, ValueError) as error:
        msg = f"units and meta must be JSON-like: {error}"
        raise DataError(msg) from error
