"""Reference catalogues of stars: one way to ask for those around a position at a date.

`GaiaArchive` asks the live archive once and keeps its answers, `LocalReference` reads an extract in Parquet,
`MemoryReference` holds stars that are at hand. Surveys and analyses see only the protocol
`ReferenceCatalogue`.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final, Protocol, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from astropy_healpix import HEALPix
from numpy.typing import NDArray

from virtualobserver.catalog.remote import Query, query_gaia, query_vizier_adql
from virtualobserver.conventions import ARCSEC_PER_DEGREE, MAG_TO_FLUX
from virtualobserver.errors import CatalogError, InvalidFile
from virtualobserver.io.atomic import write_bytes
from virtualobserver.maths.astrometry.motion import move_linear
from virtualobserver.maths.astrometry.skyargs import takes_sky
from virtualobserver.maths.astrometry.sphere import separation
from virtualobserver.typing import Record, RecordDict

__all__ = [
    "GaiaArchive",
    "LocalReference",
    "MemoryReference",
    "ReferenceCatalogue",
    "ReferenceStars",
    "build_cone_query",
]

RELEASES: Final[Mapping[str, tuple[str, float]]] = {
    "dr2": ("gaiadr2.gaia_source", 2015.5),
    "dr3": ("gaiadr3.gaia_source", 2016.0),
}
"""Table of each Gaia release and the Julian year of its positions."""

MAG_PER_FRACTION: Final = 1 / MAG_TO_FLUX
"""Magnitudes per fraction of the flux, 2.5 / ln 10."""
_FASTEST: Final = 10.6
"""Largest proper motion known (Barnard's star), arcsec/yr, rounded up."""
_ORDINARY: Final = 0.5
"""arcsec/yr; the few faster stars are looked for in a wider circle."""
_GAIA_NAMES: Final = {
    "source_id": "source_id", "ra": "ra", "dec": "dec", "pmra": "pmra", "pmdec": "pmdec", "parallax": "parallax",
    "parallax_error": "parallax_error", "mag": "phot_g_mean_mag", "bp_rp": "bp_rp", "g_rp": "g_rp",
    "radial_velocity": "radial_velocity", "ra_error": "ra_error", "dec_error": "dec_error",
}  # fmt: skip
_FLUX_SNR: Final = "phot_g_mean_flux_over_error"
"""Gaia's tables have no error of the magnitude, only the signal-to-noise ratio of the flux."""

_VIZIER_TABLES: Final = {"dr2": '"I/345/gaia2"', "dr3": '"I/355/gaiadr3"'}
_VIZIER_NAMES: Final = {
    "source_id": "Source", "ra": "RA_ICRS", "dec": "DE_ICRS", "pmra": "pmRA", "pmdec": "pmDE", "parallax": "Plx",
    "parallax_error": "e_Plx", "mag": "Gmag", "bp_rp": '"BP-RP"', "g_rp": '"G-RP"', "radial_velocity": "RV",
    "ra_error": "e_RA_ICRS", "dec_error": "e_DE_ICRS", "mag_error": "e_Gmag",
}  # fmt: skip

_CELL: Final = re.compile(r"Norder=(\d+)/(?:Dir=\d+/)?Npix=(\d+)")
_WIDEST_CELL: Final = 58.7
"""Degrees: no point of a cell of HEALPix is farther from its centre, times nside; 48.2 for the largest cells."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ReferenceStars:
    """Stars of a reference catalogue; arrays of shape (n,), NaN where a value is not known.

    Parameters
    ----------
    source_id
        Whole numbers of the catalogue.
    ra, dec
        ICRS degrees at `epoch`.
    pmra, pmdec
        mas/yr, the first times cos(dec).
    parallax, parallax_error
        mas.
    mag, bp_rp, g_rp
        Gaia G, and the colours G_BP − G_RP and G − G_RP.
    radial_velocity
        km/s.
    ra_error, dec_error
        Standard deviations of the positions at the catalogue's own epoch, mas, the first times cos(dec).
    mag_error
        Of `mag`.
    epoch
        Julian year of the positions.
    """

    source_id: NDArray[np.int64]
    ra: FloatArray
    dec: FloatArray
    pmra: FloatArray
    pmdec: FloatArray
    parallax: FloatArray
    parallax_error: FloatArray
    mag: FloatArray
    bp_rp: FloatArray
    g_rp: FloatArray
    radial_velocity: FloatArray
    ra_error: FloatArray
    dec_error: FloatArray
    mag_error: FloatArray
    epoch: float = 2016.0

    def __len__(self) -> int:
        return len(self.source_id)

    @classmethod
    def build(cls, columns: Record, *, epoch: float) -> Self:
        """Build from columns under our names or Gaia's; missing ones become NaN.

        Raises
        ------
        CatalogError
            If source_id, ra or dec are missing.
        """
        given = {ours: columns.get(ours, columns.get(theirs)) for ours, theirs in _GAIA_NAMES.items()}
        given["mag_error"] = columns.get("mag_error")
        if missing := [name for name in ("source_id", "ra", "dec") if given[name] is None]:
            msg = f"the reference catalogue has no column {', '.join(missing)}; it has {', '.join(columns)}"
            raise CatalogError(msg)
        if given["mag_error"] is None and columns.get(_FLUX_SNR) is not None:
            with np.errstate(divide="ignore"):
                given["mag_error"] = MAG_PER_FRACTION / np.asarray(columns[_FLUX_SNR], dtype=np.float64)
        ids = np.asarray(given.pop("source_id")).astype(np.int64)
        values = {
            name: np.full(ids.size, np.nan) if column is None else np.asarray(column, dtype=np.float64)
            for name, column in given.items()
        }
        return cls(source_id=ids, epoch=epoch, **values)

    def take(self, rows: object) -> Self:
        """Return some of the stars (index, boolean mask or slice)."""
        return replace(self, **{name: getattr(self, name)[rows] for name in _names()})

    def at_epoch(self, epoch: float) -> Self:
        """Return the stars where they are in another Julian year; without proper motion they stay."""
        years = np.full(len(self), epoch - self.epoch)
        ra, dec = move_linear(self.ra, self.dec, self.pmra, self.pmdec, years)
        return replace(self, ra=ra, dec=dec, epoch=epoch)

    def distances(self, ra: float, dec: float) -> FloatArray:
        """Return the distance of each star from a position (degrees), in arcsec."""
        return separation(self.ra, self.dec, ra, dec) * ARCSEC_PER_DEGREE

    @takes_sky()
    def within(self, ra: float, dec: float, radius: float) -> Self:
        """Return the stars within `radius` of a position, all in degrees, nearest first."""
        away = self.distances(ra, dec)
        order = np.argsort(away, kind="stable")
        return self.take(order[away[order] <= radius * ARCSEC_PER_DEGREE])

    def between(self, brightest: float | None, faintest: float | None) -> Self:
        """Return the stars between two magnitudes (None = no limit); stars of unknown magnitude go with any limit."""
        if brightest is None and faintest is None:
            return self
        low = -np.inf if brightest is None else brightest
        high = np.inf if faintest is None else faintest
        return self.take((self.mag >= low) & (self.mag <= high))

    def to_csv(self) -> bytes:
        """Return the stars as CSV, with the epoch as a column, for keeping as raw data."""
        columns = {name: getattr(self, name) for name in _names()}
        columns["ref_epoch"] = np.full(len(self), self.epoch)
        stream = io.BytesIO()
        pacsv.write_csv(pa.table(columns), stream)
        return stream.getvalue()

    @classmethod
    def from_csv(cls, content: bytes, name: str = "reference stars") -> Self:
        """Read what `to_csv` wrote.

        Raises
        ------
        InvalidFile
            If it is something else.
        """
        types = dict.fromkeys([*_names(), "ref_epoch"], pa.float64()) | {"source_id": pa.int64()}
        try:
            table = pacsv.read_csv(
                io.BytesIO(content), convert_options=pacsv.ConvertOptions(column_types=types)
            )
        except pa.ArrowInvalid as error:
            msg = f"{name}: not a table of reference stars ({str(error).splitlines()[0][:200]})"
            raise InvalidFile(msg) from None
        columns = {column: table.column(column).to_numpy() for column in table.column_names}
        epochs = columns.pop("ref_epoch", np.array([2016.0]))
        return cls.build(columns, epoch=float(epochs[0]) if len(epochs) else 2016.0)


def _names() -> list[str]:
    return [each.name for each in fields(ReferenceStars) if each.name != "epoch"]


class ReferenceCatalogue(Protocol):
    """Stars around a position, where they were at a date."""

    @property
    def name(self) -> str:
        """Name and version, e.g. ``gaia@dr3``."""
        ...

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
        """Return the stars that were within `radius` of a position (all in degrees) in a Julian year.

        Positions of the result are those of that year; nearest first. `brightest` and `faintest` are limits of the
        catalogue's magnitude (None = none), which are part of the question to an archive.
        """
        ...


@dataclass(frozen=True)
class MemoryReference:
    """Stars at hand, as a catalogue."""

    stars: ReferenceStars
    name: str = "memory"

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
        """See `ReferenceCatalogue.cone`."""
        return self.stars.between(brightest, faintest).at_epoch(epoch).within(ra, dec, radius)


def build_cone_query(
    ra: float,
    dec: float,
    radius: float,
    epoch: float,
    *,
    release: str = "dr3",
    vizier: bool = False,
    brightest: float | None = None,
    faintest: float | None = None,
) -> str:
    """Return the ADQL for the stars that were, or may have been, inside a cone in a Julian year.

    The circle of the catalogue's own epoch is widened by ordinary proper motion; only stars known to be
    faster are looked for farther out. With `vizier`, the question is put in the words of its copy.
    """
    if release not in RELEASES:
        msg = f"there is no Gaia release {release!r} here; there are {', '.join(RELEASES)}"
        raise CatalogError(msg)
    if not (math.isfinite(ra) and abs(dec) <= 90 and 0 < radius <= 90):
        msg = f"a cone needs ra, dec (-90 to 90) and a radius (0 to 90) in degrees, not {ra}, {dec}, {radius}"
        raise CatalogError(msg)
    table, own = RELEASES[release]
    columns = (*_GAIA_NAMES.values(), _FLUX_SNR)
    east, north, pm_east, pm_north, mag = "ra", "dec", "pmra", "pmdec", "phot_g_mean_mag"
    if vizier:
        table = _VIZIER_TABLES[release]
        columns = tuple(
            f"{theirs} AS {_GAIA_NAMES.get(ours, ours)}" for ours, theirs in _VIZIER_NAMES.items()
        )
        east, north, pm_east, pm_north, mag = "RA_ICRS", "DE_ICRS", "pmRA", "pmDE", "Gmag"
    years = abs(epoch - own)
    near, far = radius + _ORDINARY * years / ARCSEC_PER_DEGREE, radius + _FASTEST * years / ARCSEC_PER_DEGREE
    point = f"POINT('ICRS', {ra % 360:.7f}, {dec:.7f})"
    star = f"POINT('ICRS', {east}, {north})"
    fast = f"{pm_east} * {pm_east} + {pm_north} * {pm_north} > {(1000 * _ORDINARY) ** 2:.0f}"
    circle = f"CIRCLE('ICRS', {ra % 360:.7f}, {dec:.7f}, {far:.7f})"
    return (
        f"SELECT {', '.join(columns)} FROM {table} "  # noqa: S608 - every part was checked
        f"WHERE 1 = CONTAINS({star}, {circle}) AND (DISTANCE({star}, {point}) < {near:.7f} OR {fast})"
        + ("" if brightest is None else f" AND {mag} >= {brightest:g}")
        + ("" if faintest is None else f" AND {mag} <= {faintest:g}")
    )


class GaiaArchive:
    """The live Gaia archive; each question is asked once.

    Parameters
    ----------
    release
        ``dr3`` or ``dr2``.
    cache
        Folder in which answers are kept as Parquet, named by their question; None keeps none.
    query
        Runs ADQL; by default an asynchronous job without a row limit, whose rows are counted.
    vizier
        Ask the copy at VizieR instead.
    tiles
        Ask for somewhat more of the sky, around points of a grid and for whole years, so that the frames of a
        drifting field share one answer.
    """

    def __init__(
        self,
        release: str = "dr3",
        *,
        cache: str | Path | None = None,
        query: Query | None = None,
        vizier: bool = False,
        tiles: bool = False,
    ) -> None:
        if release not in RELEASES:
            msg = f"there is no Gaia release {release!r} here; there are {', '.join(RELEASES)}"
            raise CatalogError(msg)
        self.release = release
        self._cache = None if cache is None else Path(cache)
        self._query = query
        self._vizier = vizier
        self._tiles = tiles

    @property
    def name(self) -> str:
        """Name and release."""
        return f"{'vizier_gaia' if self._vizier else 'gaia'}@{self.release}"

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
        """See `ReferenceCatalogue.cone`.

        Raises
        ------
        ArchiveError
            If the archive does not answer, or not with all rows.
        """
        own = RELEASES[self.release][1]
        asked = _tile(ra, dec, radius, epoch, own) if self._tiles else (ra, dec, radius, epoch)
        adql = build_cone_query(
            *asked, release=self.release, vizier=self._vizier, brightest=brightest, faintest=faintest
        )
        stars = ReferenceStars.build(self._ask(adql), epoch=own)
        return stars.at_epoch(epoch).within(ra, dec, radius)

    def _ask(self, adql: str) -> RecordDict:
        path = None
        if self._cache is not None:
            path = self._cache / f"gaia-{hashlib.sha256(adql.encode()).hexdigest()[:32]}.parquet"
            if (kept := _read_kept(path, adql)) is not None:
                return kept
        frame = (query_vizier_adql if self._vizier else query_gaia)(adql, query=self._query)
        frame.columns = [str(name).lower() for name in frame.columns]
        if path is not None:
            table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata({"adql": adql})
            stream = io.BytesIO()
            pq.write_table(table, stream)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, stream.getvalue())
        return {str(name): frame[name].to_numpy() for name in frame}


def _tile(
    ra: float, dec: float, radius: float, epoch: float, own: float
) -> tuple[float, float, float, float]:
    """Return a cone of a coarse grid, and a whole number of years from `own`, that hold the given ones."""
    if not (math.isfinite(ra) and abs(dec) <= 90 and 0 < radius <= 60):
        return ra, dec, radius, epoch
    step = 2.0 ** math.ceil(math.log2(radius)) / 4
    middle = max(-90.0, min(90.0, step * round(dec / step)))
    parts = max(round(360 * math.cos(math.radians(middle)) / step), 1)
    wide = step * math.ceil(radius / step + 0.9)  # corners of the grid are widest beside a pole
    years = math.copysign(math.ceil(abs(epoch - own)), epoch - own)
    return 360 / parts * (round(ra % 360 / 360 * parts) % parts), middle, wide, own + years


def _read_kept(path: Path, adql: str) -> RecordDict | None:
    """Return a kept answer; None if there is none, or it is broken, or answers another question."""
    try:
        table = pq.read_table(path, page_checksum_verification=False)
    except (OSError, pa.ArrowInvalid):
        return None
    if (table.schema.metadata or {}).get(b"adql") != adql.encode():
        return None
    return {name: table.column(name).to_numpy() for name in table.column_names}


class LocalReference:
    """An extract of a catalogue in Parquet files: an immutable folder ``<name>@<version>``, or one file.

    A folder may be a published catalogue in the HATS layout, of which only the cells around a cone are read.

    Parameters
    ----------
    path
        Columns as Gaia names them; ``source_id``, ``ra`` and ``dec`` (degrees) are needed.
    epoch
        Julian year of the positions.

    Raises
    ------
    CatalogError
        If there is nothing there, or a needed column is missing.
    """

    def __init__(self, path: str | Path, *, epoch: float = 2016.0) -> None:
        self._path = Path(path).expanduser()
        self._epoch = epoch
        if not self._path.exists():
            msg = f"there is no reference catalogue at {self._path}"
            raise CatalogError(msg)
        from pyarrow import dataset  # 6 MB, and few workers read such a catalogue

        hats = self._path / "dataset"
        try:
            self._data = dataset.dataset(str(hats if hats.is_dir() else self._path), format="parquet")
        except (OSError, pa.ArrowInvalid) as error:
            msg = f"{self._path}: no Parquet files to be read ({str(error).splitlines()[0][:200]})"
            raise CatalogError(msg) from None
        if missing := {"source_id", "ra", "dec"} - set(self._data.schema.names):
            msg = f"{self._path}: no column {', '.join(sorted(missing))}"
            raise CatalogError(msg)

    @property
    def name(self) -> str:
        """Name of the folder or file."""
        return self._path.stem

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
        """See `ReferenceCatalogue.cone`; only the rows of the box around the cone are read."""
        wide = radius + _FASTEST * abs(epoch - self._epoch) / ARCSEC_PER_DEGREE
        box = (pc.field("dec") >= dec - wide) & (pc.field("dec") <= dec + wide)
        highest = min(abs(dec) + wide, 90.0)
        half = wide / math.cos(math.radians(highest)) if highest < 89.9 else 360.0
        if half < 180:
            low, high = (ra - half) % 360, (ra + half) % 360
            inside = (pc.field("ra") >= low, pc.field("ra") <= high)
            box &= (inside[0] & inside[1]) if low <= high else (inside[0] | inside[1])
        wanted = {*_GAIA_NAMES, *_GAIA_NAMES.values(), "mag_error", _FLUX_SNR}
        names = [name for name in wanted if name in self._data.schema.names]
        files = [file for file in self._data.files if _may_touch(file, ra, dec, wide)]
        data = self._data
        if len(files) < len(data.files):
            from pyarrow import dataset

            data = dataset.dataset(files, schema=data.schema)
        table = data.to_table(columns=sorted(names), filter=box)
        columns = {name: table.column(name).to_numpy() for name in table.column_names}
        stars = ReferenceStars.build(columns, epoch=self._epoch).between(brightest, faintest)
        return stars.at_epoch(epoch).within(ra, dec, radius)


def _may_touch(file: str, ra: float, dec: float, wide: float) -> bool:
    """Whether a file may hold stars of a cone, by its cell in the names that HATS gives; others may."""
    found = _CELL.search(file)
    if found is None:
        return True
    order = int(found[1])
    lon, lat = HEALPix(nside=1 << order, order="nested").healpix_to_lonlat([int(found[2])])
    away = float(separation(lon.to_value("deg"), lat.to_value("deg"), ra, dec)[0])
    return away <= wide + _WIDEST_CELL / (1 << order)
