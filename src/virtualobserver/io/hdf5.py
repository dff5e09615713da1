"""Containers and raw bytes as HDF5 datasets: compound, contiguous, without pickles.

Low-level h5py calls: a light curve of 100 epochs and 12 columns takes
half the time of the high-level ones.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from virtualobserver.errors import DataError, InvalidFile
from virtualobserver.io.blocks import PLANES, Block, checksum, decode, encode
from virtualobserver.io.sizes import ALWAYS, check_claim
from virtualobserver.maths.arrays import Array
from virtualobserver.typing import RecordDict

__all__ = ["Block", "OpenFile", "checksum", "encode", "load_block", "read_block", "read_section", "refuse_links",
           "write_file_image"]  # fmt: skip

_ATTRIBUTE: Final = "vo"
_PIECE: Final = 60_000  # an attribute of an HDF5 object header holds less than 64 kB
_WHOLE: Final = 16_000_000  # bytes; HDF5 reads a block in a dozen small pieces, and a file of a batch in one
_NUMBERS: Final = itertools.count()
_FEW: Final = 4  # blocks of a file that are looked up one by one; for more of them all its links are listed


def write_file_image(blocks: Sequence[tuple[str, Block]]) -> bytes:
    """Return the bytes of an HDF5 file with the given blocks; the same blocks give the same bytes.

    Parameters
    ----------
    blocks
        Key and content; ``/`` in a key makes groups.

    Raises
    ------
    DataError
        If a key is empty, used twice, or would not be found again under its name.
    """
    _check_keys([key for key, _ in blocks])
    # HDF5 knows open files by their names, those in memory too: runs in several threads write at once
    name = f"image {next(_NUMBERS)}"
    with h5py.File(name, "w", driver="core", backing_store=False, block_size=1 << 20) as file:
        for key, block in blocks:
            if block.kind == "spectrum":
                group = h5py.h5g.create(file.id, key.encode(), lcpl=_parents())
                _write_header(group, block.header)
                for name, array in block.arrays.items():
                    _write_array(group, name, array)
            else:
                (array,) = block.arrays.values()
                _write_header(_write_array(file.id, key, array), block.header)
        file.flush()
        return bytes(file.id.get_file_image())


class OpenFile:
    """A finished file, open for one block or for many.

    For many it is read in one piece, if it is small, and its links are checked once.

    Parameters
    ----------
    path
        Of the file. It never changes: no lock is needed, and some network file systems have none.
    many
        Whether more than one block will be read.
    """

    def __init__(self, path: Path, *, many: bool = False) -> None:
        whole = many and path.stat().st_size <= _WHOLE
        options: RecordDict = {"driver": "core", "backing_store": False} if whole else {}
        self.file = h5py.File(path, "r", locking=False, **options)
        self._asked = 0
        self._objects: frozenset[bytes] = frozenset()

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def place(self, key: str) -> h5py.h5g.GroupID:
        """Open what `key` names, see `refuse_links`."""
        self._asked += 1
        if self._asked == _FEW:
            self._objects = _reached_without_links(self.file)
        name = key.encode()
        return h5py.h5o.open(self.file.id, name) if name in self._objects else refuse_links(self.file, key)


def _reached_without_links(file: h5py.File) -> frozenset[bytes]:
    """Return the names of all objects to which no link leads; the visit follows no link either."""
    found = []

    def note(name: bytes, link: h5py.h5l.LinkInfo) -> None:
        if link.type == h5py.h5l.TYPE_HARD:
            found.append(name)

    file.id.links.visit(note, info=True)
    return frozenset(found)


def read_block(file: h5py.File, key: str) -> tuple[Any, str]:
    """Read a container or raw bytes, and the checksum of what was read.

    Raises
    ------
    InvalidFile
        If the key is missing, leads to another file, or was not written by this package.
    """
    container, block = _read(file, key, refuse_links(file, key))
    return container, _checksum(container, block)


def load_block(opened: OpenFile, key: str, *, wanted: str | None) -> tuple[Any, bool]:
    """Read a container or raw bytes, and tell whether their checksum is the one wanted; any is without one.

    Raises
    ------
    InvalidFile
        As `read_block`.
    """
    container, block = _read(opened.file, key, opened.place(key))
    if wanted is None:
        return container, True
    return container, _checksum(container, block) == wanted


def _read(file: h5py.File, key: str, place: h5py.h5d.DatasetID) -> tuple[Any, Block]:
    facts, header = _facts(file, key, place)
    if facts["kind"] == "spectrum":
        node = h5py.Group(place)
        arrays = {name: _read_array(node[name].id) for name in PLANES}
        arrays["epochs"] = _read_records(node["epochs"].id, facts["epochs"]["dtype"])
    elif facts["kind"] == "raw":
        arrays = {"": _read_array(place)}
    else:
        arrays = {"": _read_records(place, facts["dtype"])}
    return decode(facts, arrays), Block(facts["kind"], header, arrays)


def _checksum(container: object, block: Block) -> str:
    """Return the checksum of what was read: raw bytes are unpacked already."""
    return sha256(container).hexdigest() if isinstance(container, bytes) else block.checksum()


def read_section(file: h5py.File, key: str, rows: slice, cols: slice | None = None) -> Any:
    """Read rows of a table or light curve, or epochs and pixels of spectra; the checksum is not checked."""
    place = refuse_links(file, key)
    facts, _ = _facts(file, key, place)
    if facts["kind"] == "raw":
        msg = f"{file.filename}[{key}]: raw bytes have no sections; read them whole"
        raise InvalidFile(msg)
    if facts["kind"] != "spectrum":
        return decode(facts, {"": h5py.Dataset(place)[rows]})
    node = h5py.Group(place)
    pixels = cols if cols is not None else slice(None)
    arrays = {name: node[name][rows, pixels] for name in ("flux", "error", "mask")}
    arrays |= {"wave": node["wave"][pixels], "epochs": node["epochs"][rows]}
    return decode(facts, arrays)


@lru_cache(maxsize=64)
def _record_type(logical: tuple[tuple[str, str], ...]) -> tuple[np.dtype, np.dtype]:
    """Return the type of the stored records and its HDF5 form, from the types of the columns."""
    fields = []
    for name, kind in logical:
        text = f"S{int(kind[4:])}" if kind.startswith("text") else kind
        dtype = np.dtype({"b": "u1", "m": "<i8", "M": "<i8"}.get(np.dtype(text).kind, text))
        if dtype.hasobject or dtype.kind == "V":
            msg = f"column {name!r} of type {kind!r} is refused"
            raise InvalidFile(msg)
        fields.append((name, dtype))
    record = np.dtype(fields or [("", np.dtype("u1"))])
    return record, h5py.h5t.py_create(record, logical=True)


def _check_keys(keys: Sequence[str]) -> None:
    for key in keys:
        if "\0" in key or any(part in {"", ".", ".."} for part in key.split("/")):
            msg = f"{key!r} cannot be a key of an HDF5 file; make it with safe_name"
            raise DataError(msg)
    if len(set(keys)) < len(keys):
        twice = sorted({key for key in keys if keys.count(key) > 1})
        msg = f"keys used twice in one file: {', '.join(twice)}"
        raise DataError(msg)


@lru_cache(maxsize=1)
def _parents() -> h5py.h5p.PropListID:
    plist = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    plist.set_create_intermediate_group(True)
    plist.set_char_encoding(h5py.h5t.CSET_UTF8)
    return plist


@lru_cache(maxsize=1)
def _timeless() -> h5py.h5p.PropListID:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_obj_track_times(False)  # equal content must give equal bytes
    return plist


def _write_array(parent: h5py.h5g.GroupID, name: str, array: Array) -> h5py.h5d.DatasetID:
    kind = _cached_type(array.dtype)
    creation = _timeless()
    space = h5py.h5s.create_simple(array.shape)
    dataset = h5py.h5d.create(parent, name.encode(), kind, space, creation, _parents())
    if array.size:
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, np.ascontiguousarray(array), kind)
    return dataset


@lru_cache(maxsize=64)
def _cached_type(dtype: np.dtype) -> h5py.h5t.TypeID:
    return h5py.h5t.py_create(dtype, logical=True)


def _write_header(target: object, header: bytes) -> None:
    for number, start in enumerate(range(0, len(header), _PIECE)):
        piece = header[start : start + _PIECE]
        kind = h5py.h5t.C_S1.copy()
        kind.set_size(len(piece))
        kind.set_strpad(h5py.h5t.STR_NULLPAD)
        name = f"{_ATTRIBUTE}{number or ''}".encode()
        attribute = h5py.h5a.create(target, name, kind, h5py.h5s.create(h5py.h5s.SCALAR))
        attribute.write(np.array(piece))


def _read_header(target: object) -> bytes:
    pieces: list[bytes] = []
    for number in range(h5py.h5a.get_num_attrs(target)):
        name = f"{_ATTRIBUTE}{number or ''}".encode()
        if not h5py.h5a.exists(target, name):
            break
        attribute = h5py.h5a.open(target, name)
        kind = attribute.get_type()
        if kind.get_class() != h5py.h5t.STRING or kind.is_variable_str():
            msg = f"the attribute {_ATTRIBUTE!r} is not fixed-length text"
            raise InvalidFile(msg)
        value = np.empty((), f"S{kind.get_size()}")
        attribute.read(value, kind)
        pieces.append(value.tobytes())
    return b"".join(pieces).rstrip(b"\0")


def _facts(file: h5py.File, key: str, place: h5py.h5d.DatasetID) -> tuple[RecordDict, bytes]:
    """Return the attributes of a block, and their bytes."""
    header = _read_header(place)
    if not header:
        msg = (
            f"{file.filename}[{key}]: not written by this package; "
            "read it with virtualobserver.io.tables.read_any"
        )
        raise InvalidFile(msg)
    try:
        facts: RecordDict = json.loads(header)
    except ValueError as error:
        msg = f"{file.filename}[{key}]: the attributes are damaged ({error})"
        raise InvalidFile(msg) from error
    return facts, header


def refuse_links(file: h5py.File, key: str) -> h5py.h5g.GroupID:
    """Open what `key` names, and return its identifier.

    Raises
    ------
    InvalidFile
        If the key is missing, or any part of it is a link instead of an object.
    """
    group: h5py.h5g.GroupID = h5py.h5g.open(file.id, b"/")
    for part in key.strip("/").split("/"):
        name = part.encode()
        try:
            link = group.links.get_info(name) if part else None
        except (AttributeError, KeyError, RuntimeError):  # below a dataset, or not there
            link = None
        if link is None:
            msg = f"{file.filename}: no key {key!r}"
            raise InvalidFile(msg)
        if link.type != h5py.h5l.TYPE_HARD:
            msg = f"{file.filename}[{key}]: {part!r} is a link to elsewhere; links are not followed"
            raise InvalidFile(msg)
        group = h5py.h5o.open(group, name)
    return group


def check_dataset(place: h5py.h5d.DatasetID) -> None:
    """Refuse a dataset that promises more than its file or the memory can hold; one never written takes no room.

    Raises
    ------
    InvalidFile
        With the file and the dataset.
    """
    wanted = math.prod(place.shape or (0,)) * place.get_type().get_size()
    if wanted <= ALWAYS:  # most are small, and the rest takes a while to ask for
        return
    file = h5py.h5i.get_file_id(place)
    name = f"{file.name.decode(errors='replace')}[{h5py.h5i.get_name(place).decode(errors='replace')}]"
    check_claim(wanted, file.get_filesize(), name)


def _read_records(place: h5py.h5d.DatasetID, logical: Sequence[Sequence[str]]) -> Array:
    record, kind = _record_type(tuple((name, text) for name, text in logical))
    creation = place.get_create_plist()
    if creation.get_layout() == h5py.h5d.VIRTUAL or creation.get_external_count():
        msg = f"{h5py.h5i.get_name(place)!r}: its numbers are in another file, which is refused"
        raise InvalidFile(msg)
    check_dataset(place)
    array = np.empty(place.shape, record)
    if array.size:
        place.read(h5py.h5s.ALL, h5py.h5s.ALL, array, kind)
    return array


def _read_array(place: h5py.h5d.DatasetID) -> Array:
    creation = place.get_create_plist()
    if creation.get_external_count() or creation.get_layout() == h5py.h5d.VIRTUAL:
        msg = f"{h5py.h5i.get_name(place)!r}: its numbers are in another file, which is refused"
        raise InvalidFile(msg)
    dtype = place.dtype
    if dtype.hasobject:
        msg = f"{h5py.h5i.get_name(place)!r}: holds Python objects or references, which are refused"
        raise InvalidFile(msg)
    check_dataset(place)
    array = np.empty(place.shape, dtype)
    if array.size:
        place.read(h5py.h5s.ALL, h5py.h5s.ALL, array)
    return array
