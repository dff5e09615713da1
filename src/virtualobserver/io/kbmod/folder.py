"""Folders of KBMOD's files: a search written out, and what somebody else's folder holds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from astropy.io import fits as afits

from virtualobserver.data.image import Image
from virtualobserver.data.world import sky_of
from virtualobserver.errors import BadKeyword, DataError, InvalidFile
from virtualobserver.io.fits.structure import quiet
from virtualobserver.io.kbmod.images import workunit_of
from virtualobserver.io.kbmod.tables import read_image_collection, read_results, write_image_collection
from virtualobserver.io.kbmod.workunit import (
    WorkUnit,
    WorkUnitHead,
    read_workunit_head,
    shard_path,
    write_workunit,
)
from virtualobserver.io.listing import files_below
from virtualobserver.maths.times import Site
from virtualobserver.typing import Record, RecordDict, Value

__all__ = ["COLLECTION", "FoundUnit", "find_results", "find_units", "unit_of", "write_stack", "write_stacks"]

COLLECTION: Final = "images.ecsv"
_CORNERS: Final = {"tl": (0, 1), "tr": (1, 1), "bl": (0, 0), "br": (1, 0)}


@dataclass(frozen=True)
class FoundUnit:
    """A WorkUnit in a folder.

    Parameters
    ----------
    path
        The file with configuration and table.
    head
        What it says.
    mjd
        Middle of the exposure of each image, MJD (UTC).
    facts
        Of each image: columns of its IMG_META and of an ImageCollection that names the file.
    """

    path: Path
    head: WorkUnitHead
    mjd: tuple[float, ...]
    facts: tuple[Record, ...] = field(default=())

    def file_of(self, number: int) -> Path:
        """Return the file that holds an image."""
        return shard_path(self.path, number) if self.head.sharded else self.path


def write_stack(
    path: Path, images: Sequence[Image], *, observer: Site, band: str = "", sharded: bool = False
) -> pd.DataFrame:
    """Write aligned images, in order of time, as a WorkUnit without loss, and return their ImageCollection.

    Raises
    ------
    DataError
        If images differ in size or lack what a WorkUnit needs.
    """
    unit = unit_of(images, observer=observer, band=band)
    write_workunit(path, unit, sharded=sharded)
    return _collection(path.name, unit, band)


def write_stacks(
    folder: Path, stacks: Iterable[tuple[str, Sequence[Image], Site, str]], *, sharded: bool = False
) -> int:
    """Write named stacks and one ImageCollection of all; return the number of WorkUnits."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = []
    for name, images, observer, band in stacks:
        tables.append(
            write_stack(folder / f"{name}.fits", images, observer=observer, band=band, sharded=sharded)
        )
    if tables:
        write_image_collection(folder / COLLECTION, pd.concat(tables, ignore_index=True))
    return len(tables)


def unit_of(images: Sequence[Image], *, observer: Site, band: str = "") -> WorkUnit:
    """Build a WorkUnit from images with ``MJD-MID`` and ``FWHM`` in their headers.

    Raises
    ------
    BadKeyword
        If an image does not say when it was taken.
    DataError
        If images differ in size or lack what a WorkUnit needs.
    """
    for number, one in enumerate(images):
        if one.header.get("MJD-MID") is None:
            msg = f"image {number} of a stack has no MJD-MID (middle of its exposure), which a WorkUnit needs"
            raise BadKeyword(msg)
    mjd = [float(one.header["MJD-MID"]) for one in images]
    names = [str(one.header.get("ORIGFILE") or f"image_{n}") for n, one in enumerate(images)]
    meta: dict[str, Sequence[Value]] = {"visit": list(range(len(images))), "data_loc": names}
    if band:
        meta["filter"] = [band] * len(images)
    return workunit_of(images, mjd, observer=observer, meta=meta)


def find_units(folder: Path) -> Iterator[FoundUnit]:
    """Yield the WorkUnits below a folder, by name; other files are passed over."""
    collections = list(_collections(folder))
    for path in sorted(files_below([folder], (".fits",))):
        if not _is_workunit(path):
            continue
        head = read_workunit_head(path)
        mjd = tuple(_times(path, head))
        yield FoundUnit(
            path, head, mjd, tuple(_facts(path, head, n, collections) for n in range(head.number))
        )


def find_results(folder: Path) -> Iterator[Path]:
    """Yield the tables of results below a folder, by name."""
    for path in sorted(files_below([folder], (".ecsv", ".parquet", ".hdf5", ".h5"))):
        try:
            read_results(path)
        except (DataError, InvalidFile):
            continue
        yield path


def _is_workunit(path: Path) -> bool:
    try:
        with quiet(path, 0), path.open("rb") as stream, afits.open(stream, memmap=False) as units:
            return "NUMIMG" in units[0].header
    except InvalidFile:
        return False


def _times(path: Path, head: WorkUnitHead) -> Iterator[float]:
    for number in range(head.number):
        where = shard_path(path, number) if head.sharded else path
        with quiet(where, 0), where.open("rb") as stream, afits.open(stream, memmap=False) as units:
            yield float(units[f"SCI_{number}"].header["MJD"])


def _collections(folder: Path) -> Iterator[pd.DataFrame]:
    for path in sorted(files_below([folder], (".ecsv", ".fits"))):
        try:
            table = read_image_collection(path)
        except (DataError, InvalidFile):
            continue
        if "location" in table:
            yield table


def _facts(path: Path, head: WorkUnitHead, number: int, collections: Sequence[pd.DataFrame]) -> RecordDict:
    facts = {name: values[number] for name, values in head.meta.items() if number < len(values)}
    for table in collections:
        rows = table[[Path(str(where)).name == path.name for where in table["location"]]]
        rows = rows[rows["ext_idx"] == number] if "ext_idx" in rows else rows.iloc[[]]
        if len(rows):
            facts |= {
                key: rows.iloc[0][key] for key in ("filter", "band", "visit", "ra", "dec") if key in rows
            }
    return {key: value.item() if isinstance(value, np.generic) else value for key, value in facts.items()}


def _collection(name: str, unit: WorkUnit, band: str) -> pd.DataFrame:
    rows = []
    for number, mjd in enumerate(unit.mjd.tolist()):
        cards = unit.wcs[number]
        if cards is None:
            msg = f"{name}: image {number} has no world coordinates, which an ImageCollection needs"
            raise DataError(msg)
        ny, nx = unit.science.shape[1:]
        wcs = sky_of(cards)
        ra, dec = (float(part) for part in wcs.all_pix2world((nx - 1) / 2, (ny - 1) / 2, 0))
        row = {
            "mjd_mid": mjd, "ra": ra, "dec": dec, "wcs": json.dumps(dict(cards)),
            "obs_lon": unit.observer.lon, "obs_lat": unit.observer.lat, "obs_elev": unit.observer.height,
            "location": name, "mjd": mjd, "filter": band or "unknown", "visit": number, "ext_idx": number,
        }  # fmt: skip
        for corner, (right, up) in _CORNERS.items():
            row[f"ra_{corner}"], row[f"dec_{corner}"] = (
                float(part) for part in wcs.all_pix2world(right * (nx - 1), up * (ny - 1), 0)
            )
        rows.append(row)
    return pd.DataFrame(rows)
