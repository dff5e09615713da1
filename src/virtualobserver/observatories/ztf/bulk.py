"""Bulk light-curve files: one Parquet file for a field, filter, CCD and quadrant, one row an object."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from virtualobserver.conventions import MJD_ZERO_JD
from virtualobserver.data.product import Raw, RawRef, Target
from virtualobserver.errors import BadKeyword, DataError, InvalidFile
from virtualobserver.io.listing import mark
from virtualobserver.io.sizes import check_parquet, check_size
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.lightcurves.exposures import Effects, exposure_effects, exposures
from virtualobserver.maths.times import bjd_tdb, light_travel_days
from virtualobserver.observatories.ztf.reduce import PALOMAR
from virtualobserver.observatories.ztf.table import FILTERS, Columns, decode_oid, without_impossible

__all__ = ["BulkFile", "columns_of", "file_key", "holds", "key_of", "oid_of", "raw_of", "release_of"]

COARSE_STEP = 337.5  # s: the last bit of a float32 that holds an MJD of today
_NAME = re.compile(r"(ztf_[0-9]{6}_z[gri]_c[0-9]{2}_q[1-4])_dr[0-9]+\.parquet")
_SCALARS = ("objectid", "filterid", "fieldid", "objra", "objdec", "nepochs")
_LISTS = ("hmjd", "mag", "magerr", "clrcoeff", "catflags")


def file_key(name: str) -> str | None:
    """Return field, filter, CCD and quadrant of a bulk file's name, without the release; None for others."""
    match = _NAME.fullmatch(name)
    return match.group(1) if match else None


def release_of(name: str) -> int:
    """Return the number of the release in a bulk file's name."""
    return int(name.removesuffix(".parquet").rpartition("_dr")[2])


def key_of(oid: int) -> str:
    """Return the part of a bulk file's name that the digits of an object id give."""
    field, filtercode, ccd, quadrant = decode_oid(oid)
    return f"ztf_{field:06d}_{filtercode}_c{ccd:02d}_q{quadrant}"


def oid_of(target: Target) -> int | None:
    """Return the object id a target is named by, or has in its column ``oid`` or ``objectid``."""
    for text in (target.name, target.extra.get("oid"), target.extra.get("objectid")):
        digits = str(text) if text is not None else ""
        if re.fullmatch(r"[0-9]{15,16}", digits):
            try:
                decode_oid(int(digits))
            except BadKeyword:
                continue
            return int(digits)
    return None


def holds(path: Path, oid: int) -> bool:
    """Say whether a bulk file has an object.

    Raises
    ------
    InvalidFile
        If it is not a bulk file.
    """
    ids = _object_ids(path, mark(path.stat()))
    place = int(np.searchsorted(ids, oid))
    return place < len(ids) and int(ids[place]) == oid


@lru_cache(maxsize=64)
def _object_ids(path: Path, state: tuple[int, int, int]) -> NDArray[np.int64]:  # noqa: ARG001 - part of the key
    """Return the object ids of a file in increasing order, read once for all batches of this process."""
    try:
        with pq.ParquetFile(path) as file:
            check_size(8 * file.metadata.num_rows, path.name)
            ids = file.read(columns=["objectid"]).column("objectid").to_numpy()
    except (pa.ArrowInvalid, pa.ArrowKeyError, OSError) as error:
        msg = f"{path.name}: not a readable bulk light-curve file ({str(error)[:200]})"
        raise InvalidFile(msg) from None
    return np.sort(ids)


def raw_of(path: Path, oid: int) -> Raw:
    """Describe one object of a bulk file, which stays where it is."""
    field, filtercode, _, _ = decode_oid(oid)
    header = {"oids": [oid], "filters": [filtercode], "field": field, "bulk": True}
    return Raw(path.name, "parquet", path=path, in_place=True, key=str(oid), header=header)


class BulkFile:
    """The content of a bulk file, ready to cut objects out of.

    Raises
    ------
    InvalidFile
        If the bytes are not Parquet.
    BadKeyword
        If a column is missing.
    """

    def __init__(self, content: bytes, name: str) -> None:
        self.name = name
        try:
            with pq.ParquetFile(io.BytesIO(content)) as file:
                check_parquet(file.metadata, name)
                table = file.read().combine_chunks()
        except (pa.ArrowInvalid, OSError) as error:
            msg = f"{name}: not a readable Parquet file ({str(error)[:200]}); fetch it again"
            raise InvalidFile(msg) from None
        if missing := [column for column in (*_SCALARS, *_LISTS) if column not in table.column_names]:
            msg = f"{name}: no column {', '.join(missing)}; a bulk light-curve file is expected"
            raise BadKeyword(msg)
        self._scalars = {column: table.column(column).to_numpy() for column in _SCALARS}
        self._lists: dict[str, tuple[Array, Array]] = {}
        for column in _LISTS:
            values = table.column(column).combine_chunks()
            chunk = values.chunk(0) if isinstance(values, pa.ChunkedArray) else values
            flat = chunk.values.to_numpy(zero_copy_only=False)
            self._lists[column] = (chunk.offsets.to_numpy(), flat)
        self._order = np.argsort(self._scalars["objectid"])
        self.coarse = bool(self._lists["hmjd"][1].dtype == np.float32)
        self._add_times()

    def _add_times(self) -> None:
        """Convert the heliocentric times of all epochs of the file at once.

        The objects share exposures, so the vectors from the Sun and the barycentre to the telescope are made
        once for each time; the time is 500 s off at most, in which the travel time changes by 0.05 s.
        """
        offsets, hmjd = self._lists.pop("hmjd")
        helio = hmjd[offsets[0] : offsets[-1]].astype(np.float64)
        times, place = np.unique(helio, return_inverse=True)
        sun, barycentre, tdb = _vectors(times)
        counts = np.diff(offsets)
        ra, dec = (np.radians(self._scalars[name].astype(np.float64)) for name in ("objra", "objdec"))
        towards = np.column_stack((np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)))
        towards = np.repeat(towards, counts, axis=0)
        mjd = helio - np.einsum("ij,ij->i", sun[place], towards)
        bjd = mjd + MJD_ZERO_JD + tdb[place] + np.einsum("ij,ij->i", barycentre[place], towards)
        made = {"mjd": mjd, "mjd_start": mjd, "hjd": helio + MJD_ZERO_JD, "bjd_tdb": bjd}
        self._lists |= {name: (offsets - offsets[0], values) for name, values in made.items()}

    @cached_property
    def effects(self) -> Effects:
        """What each exposure did to objects of like magnitude, for all epochs of the file."""
        columns: Columns = {"mjd": self._lists["mjd"][1]}
        for name in ("mag", "magerr", "clrcoeff", "catflags"):
            offsets, flat = self._lists[name]
            columns[name] = flat[offsets[0] : offsets[-1]].astype(np.float64)
        owner = np.repeat(np.arange(offsets.size - 1), np.diff(offsets))
        good = (columns["catflags"] == 0) & (without_impossible(columns, self.name)["out_of_range"] == 0)
        number = exposures(columns["mjd"], columns["clrcoeff"])
        return exposure_effects(owner, number, columns["mag"], columns["magerr"], good)

    def columns(self, oid: int, *, corrected: bool = False) -> Columns:
        """Return the epochs of one object.

        The file knows no exposure times: ``mjd`` and ``mjd_start`` are both the middle of the exposure.

        Parameters
        ----------
        oid
            Of the object.
        corrected
            Take out what the exposures did to all objects of like magnitude (`effects`), and tell it in the columns
            ``exposure_offset`` and ``exposure_factor``.

        Raises
        ------
        BadKeyword
            If the file does not hold the object.
        """
        ids = self._scalars["objectid"]
        place = int(np.searchsorted(ids, oid, sorter=self._order))
        if place >= len(ids) or int(ids[self._order[place]]) != oid:
            msg = f"{self.name}: no object {oid}"
            raise BadKeyword(msg)
        row = int(self._order[place])
        cut = {
            column: flat[offsets[row] : offsets[row + 1]] for column, (offsets, flat) in self._lists.items()
        }
        count = len(cut["mag"])
        filtercode = FILTERS.get(int(self._scalars["filterid"][row]), "")
        columns: Columns = {column: values.astype(np.float64) for column, values in cut.items()}
        columns["catflags"] = cut["catflags"].astype(np.int64)
        columns["oid"] = np.full(count, oid, dtype=np.int64)
        columns["filtercode"] = np.full(count, filtercode, dtype="U8")
        columns["ra"] = np.full(count, float(self._scalars["objra"][row]))
        columns["dec"] = np.full(count, float(self._scalars["objdec"][row]))
        columns = without_impossible(columns, self.name)
        if corrected:
            start = int(self._lists["mag"][0][row] - self._lists["mag"][0][0])
            part = slice(start, start + count)
            columns["exposure_offset"], columns["exposure_factor"] = (
                self.effects.offset[part], self.effects.factor[part],
            )  # fmt: skip
            columns["mag"] = columns["mag"] - columns["exposure_offset"]
            columns["magerr"] = columns["magerr"] * columns["exposure_factor"]
        return columns


def _vectors(mjd: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Return light-travel vectors to the Sun and to the barycentre, shape (n, 3), and TDB - UTC, all in d.

    The travel time towards a star is the product of the vector with the star's unit vector, hence the
    components are the travel times towards the three axes.
    """
    axes = ((0.0, 0.0), (90.0, 0.0), (0.0, 90.0))
    sun = [light_travel_days(mjd, ra, dec, PALOMAR, kind="heliocentric") for ra, dec in axes]
    barycentre = [light_travel_days(mjd, ra, dec, PALOMAR) for ra, dec in axes]
    tdb = bjd_tdb(mjd, 0.0, 0.0, PALOMAR) - MJD_ZERO_JD - barycentre[0] - mjd
    return np.column_stack(sun), np.column_stack(barycentre), tdb


@dataclass(frozen=True)
class _Stamp:
    """A file as it was when it was opened; how to read it does not tell two stamps apart."""

    name: str
    path: Path | None
    state: tuple[int, int, int]
    read: Callable[[], bytes] = field(compare=False)


@lru_cache(maxsize=1)
def _opened(stamp: _Stamp) -> BulkFile:
    """Return the content of a file; the last one is remembered, since its objects come one after the other."""
    return BulkFile(stamp.read(), stamp.name)


def columns_of(raw: RawRef, *, time_resolution: float, allow_coarse: bool, corrected: bool) -> Columns:
    """Return the epochs of the object `raw` stands for; `corrected` as in `BulkFile.columns`.

    Raises
    ------
    DataError
        If times are rounded more coarsely than a search for short events bears.
    """
    if raw.path is not None and raw.path.exists():
        file = _opened(_Stamp(raw.archive_id, raw.path, mark(raw.path.stat()), raw.read))
    else:
        file = BulkFile(raw.read(), raw.archive_id)
    if file.coarse and time_resolution < 3600.0 and not allow_coarse:
        msg = (
            f"{raw.archive_id}: times are float32, rounded to {COARSE_STEP} s, too coarse for "
            f"time_resolution = {time_resolution} s; set allow_coarse_times to use them"
        )
        raise DataError(msg)
    return file.columns(int(raw.key), corrected=corrected)
