"""Extracts of reference catalogues: immutable folders ``refcat/<name>@<version>`` of Parquet files by HEALPix cell.

The layout is HATS, which LSDB opens as it is: ``dataset/Norder=<k>/Dir=<d>/Npix=<p>.parquet`` (nested cells of order k,
rows by declination), ``hats.properties`` and ``partition_info.csv``; and ``provenance.json`` says where the stars come
from, their epoch, and the checksum of every file.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy import units
from astropy_healpix import HEALPix

from virtualobserver.catalog.refcat_columns import to_stars
from virtualobserver.catalog.reference import (
    RELEASES,
    GaiaArchive,
    LocalReference,
    ReferenceCatalogue,
    ReferenceStars,
)
from virtualobserver.catalog.remote import TAP_GAIA, TAP_VIZIER, jobs_at
from virtualobserver.conventions import ARCSEC_PER_DEGREE
from virtualobserver.errors import CatalogError, ChecksumMismatch, StoreError
from virtualobserver.io.atomic import new_folder, sync_folder, write_bytes
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.astrometry.skyargs import takes_sky
from virtualobserver.typing import Record, RecordDict

if TYPE_CHECKING:
    import pandas as pd

    from virtualobserver.catalog.remote import Clients, Query

__all__ = [
    "FOLDER",
    "Origin",
    "PartitionedReference",
    "build_refcat",
    "list_refcats",
    "open_refcat",
    "split_name",
]

FOLDER: Final = "refcat"
PROVENANCE: Final = "provenance.json"
FORMAT: Final = 2
"""Raised when older versions could not read what is written."""
HATS: Final = "hats.properties"
MOST_ROWS: Final = 50_000
"""Rows a cell may hold before the cells are made smaller."""
HIGHEST_ORDER: Final = 9
"""HEALPix order; its cells of 0.11 deg hold less than a search wants."""
CELLS_KEPT: Final = 32
"""Cells in memory: those about a field and its neighbours."""
SPATIAL: Final = "_healpix_29"
SPATIAL_ORDER: Final = 29
"""Name and order of the column of cells by which programs for HATS sort and join."""
PER_FOLDER: Final = 10_000
"""Cells in a folder ``Dir=``, as HATS has it."""
_TAKEN: Final = "{} is there already, and a reference catalogue never changes; choose another version"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]*@[A-Za-z0-9][A-Za-z0-9_.-]*")
_COLUMNS: Final = (
    "source_id", "ra", "dec", "pmra", "pmdec", "parallax", "parallax_error", "mag", "bp_rp", "g_rp",
    "radial_velocity", "ra_error", "dec_error", "mag_error",
)  # fmt: skip


@dataclass(frozen=True)
class Origin:
    """Where stars come from: ``file``, ``adql``, ``cone`` or ``vizier``, and the file's name or the question."""

    kind: str
    text: str
    sha256: str = ""


def split_name(name: str) -> tuple[str, str]:
    """Return name and version of ``<name>@<version>``.

    Raises
    ------
    CatalogError
        If it has not this form, or would lead outside the folder.
    """
    if not _NAME.fullmatch(name) or ".." in name:
        msg = f"{name!r} is no reference catalogue: they are called <name>@<version>, e.g. gaia_dr3@2022"
        raise CatalogError(msg)
    first, _, second = name.partition("@")
    return first, second


def build_refcat(
    frame: pd.DataFrame,
    root: str | Path,
    name: str,
    *,
    origin: Origin,
    epoch: float | None = None,
    columns: Mapping[str, str] | None = None,
    order: int | None = None,
) -> PartitionedReference:
    """Write an extract; it appears whole or not at all, and is never changed.

    Parameters
    ----------
    frame
        The stars; columns are recognised by the names that Gaia, VizieR and others use.
    root
        The data folder.
    name
        ``<name>@<version>``.
    epoch
        Julian year of the positions; by default what the table says, or the release the question names.
    columns
        Our names to those of the table, where they are not recognised.
    order
        Of the HEALPix cells; by default as many as keep them below 50 000 stars.

    Raises
    ------
    CatalogError
        If the name is taken, columns are missing, positions or numbers are wrong, or the epoch is not known.
    """
    split_name(name)
    target = Path(root) / FOLDER / name
    if target.exists():
        raise CatalogError(_TAKEN.format(target))
    stars, used = to_stars(frame, origin.text, epoch=epoch, columns=columns or {}, name=name)
    if order is None:
        order = _order_for(stars)
    elif not 0 <= order <= HIGHEST_ORDER:
        msg = f"reference catalogue {name}: cells have an order of 0 to {HIGHEST_ORDER}, not {order}"
        raise CatalogError(msg)
    try:
        with new_folder(target) as made:
            files = _write_cells(stars, made, order)
            facts = _provenance(stars, name, origin, used, order=order, files=files)
            facts["hats"] = _write_hats(stars, made, name, order, files)
            write_bytes(made / PROVENANCE, (json.dumps(facts, indent=1) + "\n").encode())
    except FileExistsError:
        raise CatalogError(_TAKEN.format(target)) from None
    return PartitionedReference(target)


class PartitionedReference:
    """An extract made by `build_refcat`.

    Raises
    ------
    CatalogError
        If the folder is none.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        try:
            facts = json.loads((self.path / PROVENANCE).read_text(encoding="utf-8"))
            if facts["format"] != FORMAT:
                msg = (
                    f"{self.path}: format {facts['format']}, and this version reads {FORMAT}; build it again"
                )
                raise CatalogError(msg)
            self.epoch = float(facts["epoch"])
            self._order = int(facts["order"])
            self._fastest = float(facts["fastest_mas_per_year"])
            self._files = tuple(facts["files"])
            self._reach = np.array([float(facts["files"][file]["reach_deg"]) for file in self._files])
            self._centres = _centres(
                [int(Path(file).stem.removeprefix("Npix=")) for file in self._files], self._order
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, CatalogError):
                raise
            msg = f"{self.path} is no reference catalogue ({type(error).__name__}: {error})"
            raise CatalogError(msg) from None
        self.provenance: Record = facts
        self._cell = lru_cache(maxsize=CELLS_KEPT)(self._read_cell)

    @property
    def name(self) -> str:
        """Name and version."""
        return self.path.name

    def __len__(self) -> int:
        return int(self.provenance["rows"])

    def __reduce__(self) -> tuple[type[PartitionedReference], tuple[Path]]:
        return type(self), (self.path,)

    @takes_sky()
    def cone(
        self,
        ra: float,
        dec: float,
        radius: float,
        epoch: float,
        *,
        brightest: float | None = None,
        faintest: float | None = None,
    ) -> ReferenceStars:
        """See `ReferenceCatalogue.cone`; only the cells that the cone touches are read, and kept in memory.

        Raises
        ------
        CatalogError
            If the cone is none.
        StoreError
            If a file is gone or broken.
        """
        if not np.isfinite([ra, dec, radius, epoch]).all() or abs(dec) > 90 or not 0 <= radius <= 180:
            msg = f"a cone needs ra, dec (-90 to 90) and a radius (0 to 180) in degrees, not {ra}, {dec}, {radius}"
            raise CatalogError(msg)
        wide = min(radius + self._fastest * abs(epoch - self.epoch) / 3.6e6 + 1e-6, 180.0)
        parts = []
        # Each cell's own reach: searches of HEALPix libraries lose corners of large cells.
        for place in np.flatnonzero(
            self._centres.distances(ra, dec) <= ARCSEC_PER_DEGREE * (wide + self._reach)
        ):
            stars = self._cell(int(place))
            rows = slice(*np.searchsorted(stars.dec, [dec - wide, dec + wide + 1e-12]).tolist())
            parts.append(stars.take(rows).between(brightest, faintest))
        return _joined(parts, self.epoch).at_epoch(epoch).within(ra, dec, radius)

    def verify(self) -> None:
        """Compare every file with its checksum.

        Raises
        ------
        ChecksumMismatch
            Naming the files that are gone or changed.
        """
        wrong = []
        sums = {file: facts["sha256"] for file, facts in self.provenance["files"].items()}
        for file, right in (sums | self.provenance["hats"]).items():
            path = self.path / file
            if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != right:
                wrong.append(file)
        if _digest(self.provenance["files"]) != self.provenance["sha256"]:
            wrong.append(PROVENANCE)
        if wrong:
            msg = f"{self.path}: {', '.join(wrong)}: gone or changed; remove the folder and build it again"
            raise ChecksumMismatch(msg)

    def _read_cell(self, place: int) -> ReferenceStars:
        path = self.path / self._files[place]
        try:
            table = pq.ParquetFile(path).read()
        except (OSError, pa.ArrowInvalid) as error:
            msg = f"{path}: gone or broken ({str(error).splitlines()[0][:200]}); build {self.name} again"
            raise StoreError(msg) from None
        return ReferenceStars.build(
            {name: table.column(name).to_numpy() for name in table.column_names}, epoch=self.epoch
        )


def list_refcats(root: str | Path) -> list[PartitionedReference]:
    """Return the extracts of a data folder by name; what is none is left out."""
    folders = sorted((Path(root) / FOLDER).glob("*@*"))
    return [PartitionedReference(path) for path in folders if (path / PROVENANCE).is_file()]


def open_refcat(
    name: str, root: str | Path, *, query: Query | None = None, http: Clients | None = None
) -> ReferenceCatalogue:
    """Return a reference catalogue by what a configuration calls it.

    Parameters
    ----------
    name
        ``<name>@<version>``: an extract of the data folder, or any folder of that name in it with Parquet files;
        ``gaia@dr3`` and ``gaia@dr2``, unless there are such extracts: the live archive, whose answers are kept;
        ``vizier_gaia@dr3`` and ``vizier_gaia@dr2``: the copies at VizieR.
    root
        The data folder.
    query
        Asks the live archive; by default jobs in its queue, through the clients that `http` makes.

    Raises
    ------
    CatalogError
        If there is no such catalogue; the message lists those there are.
    """
    first, release = split_name(name)
    path = Path(root) / FOLDER / name
    if (path / PROVENANCE).is_file():
        return PartitionedReference(path)
    if path.is_dir():
        return LocalReference(path, epoch=_epoch_of(path))
    if first in {"gaia", "vizier_gaia"} and release in {"dr2", "dr3"}:
        cache = Path(root) / "cache" / FOLDER
        if query is None:
            query = jobs_at(TAP_GAIA if first == "gaia" else TAP_VIZIER, http)
        return GaiaArchive(release, cache=cache, query=query, vizier=first == "vizier_gaia", tiles=True)
    there = [each.name for each in list_refcats(root)]
    msg = f"there is no reference catalogue {name} in {Path(root) / FOLDER}"
    msg += f"; there are {', '.join(there)}, " if there else "; there are none, "
    raise CatalogError(msg + "and gaia@dr3 asks the live archive; `vo refcat build` makes one")


# --- inside -----------------------------------------------------------------------------------------------


def _cells_of(ra: object, dec: object, order: int) -> Array:
    cells = HEALPix(nside=1 << order, order="nested").lonlat_to_healpix(ra * units.deg, dec * units.deg)
    return np.asarray(cells)


def _centres(cells: list[int], order: int) -> ReferenceStars:
    """Return the centres of cells, as stars."""
    grid = HEALPix(nside=1 << order, order="nested")
    lon, lat = grid.healpix_to_lonlat(np.array(cells, dtype=np.int64))
    columns = {"source_id": cells, "ra": lon.to_value(units.deg), "dec": lat.to_value(units.deg)}
    return ReferenceStars.build(columns, epoch=2000.0)


def _order_for(stars: ReferenceStars) -> int:
    finest = _cells_of(stars.ra, stars.dec, HIGHEST_ORDER)
    for order in range(HIGHEST_ORDER):
        _, counts = np.unique(finest >> 2 * (HIGHEST_ORDER - order), return_counts=True)
        if counts.max(initial=0) <= MOST_ROWS:
            return order
    return HIGHEST_ORDER


def _write_cells(stars: ReferenceStars, folder: Path, order: int) -> dict[str, RecordDict]:
    cells = _cells_of(stars.ra, stars.dec, order)
    rows = np.lexsort((stars.source_id, stars.dec, cells))
    found, starts = np.unique(cells[rows], return_index=True)
    files: dict[str, RecordDict] = {}
    places = []
    middles = _centres(found.tolist(), order)
    groups = zip(found.tolist(), np.split(rows, starts[1:]), middles.ra, middles.dec, strict=True)
    for cell, mine, ra, dec in groups:
        columns = {name: getattr(stars, name)[mine] for name in _COLUMNS}
        table = pa.table({SPATIAL: _cells_of(stars.ra[mine], stars.dec[mine], SPATIAL_ORDER), **columns})
        stream = io.BytesIO()
        pq.write_table(table, stream, compression="zstd")
        content = stream.getvalue()
        name = f"dataset/Norder={order}/Dir={cell // PER_FOLDER * PER_FOLDER}/Npix={cell}.parquet"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        places.append((folder / name).parent)
        (folder / name).write_bytes(content)
        files[name] = {
            "rows": len(mine), "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(),
            "reach_deg": float(stars.take(mine).distances(ra, dec).max()) / ARCSEC_PER_DEGREE + 1e-9,
        }  # fmt: skip
    # All are written before the first is waited for, which is much quicker than one by one.
    for name in files:
        with (folder / name).open("rb+") as written:
            os.fsync(written.fileno())
    for place in {*places, folder / f"dataset/Norder={order}", folder / "dataset"}:
        sync_folder(place)
    return files


def _write_hats(
    stars: ReferenceStars, folder: Path, name: str, order: int, files: Mapping[str, Record]
) -> dict[str, str]:
    """Write what HATS wants beside the cells, and return the checksums of these files."""
    first = pq.ParquetFile(folder / next(iter(files))).schema_arrow
    stream = io.BytesIO()
    pq.write_metadata(first, stream)
    cells = "".join(f"{order},{Path(file).stem.removeprefix('Npix=')}\n" for file in files)
    properties = {
        "obs_collection": name, "dataproduct_type": "object", "hats_nrows": len(stars), "hats_col_ra": "ra",
        "hats_col_dec": "dec", "hats_col_healpix": SPATIAL, "hats_col_healpix_order": SPATIAL_ORDER,
        "hats_npix_suffix": ".parquet", "hats_order": order, "hats_version": "v0.1", "hats_frame": "icrs",
        "hats_builder": f"virtualobserver {installed('virtualobserver')}", "vo_epoch": stars.epoch,
    }  # fmt: skip
    written = {
        HATS: "".join(f"{key}={value}\n" for key, value in properties.items()).encode(),
        "partition_info.csv": f"Norder,Npix\n{cells}".encode(),
        "dataset/_common_metadata": stream.getvalue(),
    }
    for file, content in written.items():
        write_bytes(folder / file, content)
    return {file: hashlib.sha256(content).hexdigest() for file, content in written.items()}


def _epoch_of(folder: Path) -> float:
    """Return the Julian year of positions in a folder that others made, as its properties say, else Gaia DR3's."""
    path = folder / HATS
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition("=")
            if key.strip() == "vo_epoch":
                return float(value)
            if key.strip() == "obs_collection" and "dr2" in value.lower():
                return RELEASES["dr2"][1]
    return RELEASES["dr3"][1]


def _digest(files: Mapping[str, Record]) -> str:
    lines = "".join(f"{files[name]['sha256']}  {name}\n" for name in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


def _provenance(
    stars: ReferenceStars,
    name: str,
    origin: Origin,
    columns: Mapping[str, str],
    *,
    order: int,
    files: Mapping[str, Record],
) -> RecordDict:
    motion = np.hypot(np.nan_to_num(stars.pmra), np.nan_to_num(stars.pmdec))
    first, second = split_name(name)
    return {
        "format": FORMAT,
        "name": first,
        "version": second,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "software": f"virtualobserver {installed('virtualobserver')}",
        "origin": {"kind": origin.kind, "text": origin.text, "sha256": origin.sha256},
        "columns": dict(columns),
        "epoch": stars.epoch,
        "frame": "ICRS",
        "units": {
            "ra": "deg",
            "dec": "deg",
            "pmra": "mas/yr",
            "pmdec": "mas/yr",
            "parallax": "mas",
            "mag": "mag",
        },
        "fastest_mas_per_year": float(motion.max(initial=0.0)),
        "rows": len(stars),
        "order": order,
        "ordering": "nested",
        "sha256": _digest(files),
        "files": dict(files),
    }


def _joined(parts: list[ReferenceStars], epoch: float) -> ReferenceStars:
    if len(parts) == 1:
        return parts[0]
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts]) if parts else np.zeros(0)
        for name in _COLUMNS
    }
    return ReferenceStars.build(columns, epoch=epoch)
