"""Where the tables behind catalogues come from: files, archives, downloads kept in a cache."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from virtualobserver.errors import (
    ArchiveAnswerError,
    ArchiveOverflow,
    ArchiveRefused,
    ArchiveUnavailable,
    CatalogError,
)
from virtualobserver.io.http.client import HttpClient
from virtualobserver.io.http.tap import tap_job
from virtualobserver.io.tables import read_any
from virtualobserver.maths.astrometry.skyargs import takes_sky
from virtualobserver.typing import Record, RecordDict

if TYPE_CHECKING:
    import pandas as pd
    from astropy.table import Table as AstropyTable

__all__ = [
    "PUBLISHED",
    "TAP_GAIA",
    "TAP_VIZIER",
    "Clients",
    "Published",
    "Query",
    "jobs_at",
    "named",
    "named_catalogs",
    "query_at",
    "query_gaia",
    "query_gaia_cone",
    "query_vizier",
    "query_vizier_adql",
]

Query = Callable[[str], "AstropyTable"]
"""ADQL in, a table out (astropy or pandas); raises what the network raises."""

Clients = Callable[[], HttpClient]
"""Makes a client, which is closed after use."""

_WARWICK: Final = "https://warwick.ac.uk/fac/sci/physics/research/astro/research/catalogues/"
# Gentile Fusillo et al. 2021, MNRAS 508, 3877: Gaia's source numbers, positions at J2016.0.
_WHITE_DWARFS: Final[RecordDict] = {
    "columns": {
        "name": "source_id",
        "ra": "ra",
        "dec": "dec",
        "pmra": "pmra",
        "pmdec": "pmdec",
        "parallax": "parallax",
        "mag": "phot_g_mean_mag",
        "alias": "WDJ_name",
    },
    "namespace": "gaia_dr3",
    "epoch": 2016.0,
    "mag_band": "G",
}


@dataclass(frozen=True)
class Published:
    """A catalogue as it was published: where it is, how many rows it has, what its columns are."""

    url: str
    rows: int
    fields: Record

    @property
    def file(self) -> str:
        """Name of the file."""
        return self.url.rpartition("/")[2]


PUBLISHED: Final[dict[str, Published]] = {
    "gaia_edr3_white_dwarfs": Published(_WARWICK + "gaiaedr3_wd_main.fits.gz", 1_280_266, _WHITE_DWARFS),
}
_GAIA_COLUMNS: Final = (
    "source_id, ra, dec, ref_epoch, ra_error, dec_error, parallax, parallax_error, parallax_over_error, "
    "pmra, pmra_error, pmdec, pmdec_error, pmra_pmdec_corr, ruwe, astrometric_excess_noise, "
    "visibility_periods_used, phot_g_mean_mag, phot_g_mean_flux_over_error, phot_bp_mean_mag, "
    "phot_rp_mean_mag, bp_rp, phot_bp_rp_excess_factor, phot_variable_flag, has_epoch_photometry, "
    "radial_velocity"
)
TAP_GAIA: Final = "https://gea.esac.esa.int/tap-server/tap"
TAP_VIZIER: Final = "https://tapvizier.cds.unistra.fr/TAPVizieR/tap"
_TABLE_ID: Final = re.compile(r"[A-Za-z0-9+._/&-]{1,100}")
_LARGEST_CONE_DEG: Final = 90.0
"""A larger cone is the sky less another one, which no service is asked for."""


def named_catalogs() -> list[str]:
    """Return the names that `named` knows."""
    return sorted(PUBLISHED)


def named(
    name: str, *, cache: str | Path, http: HttpClient | None = None, folder_url: str | None = None
) -> pd.DataFrame:
    """Return a catalogue known by name; it is downloaded once and then kept in `cache`.

    Parameters
    ----------
    name
        One of `named_catalogs`.
    cache
        Folder for the file.
    http
        Client to use.
    folder_url
        Where the file lies instead of where it was published.

    Raises
    ------
    CatalogError
        If the name is not known.
    ArchiveError
        If it cannot be downloaded.
    ArchiveOverflow
        If it has not as many rows as were published; the file is not kept then.
    """
    if name not in PUBLISHED:
        msg = f"there is no catalogue named {name!r}; there are {', '.join(named_catalogs())}"
        raise CatalogError(msg)
    known = PUBLISHED[name]
    path = Path(cache) / known.file
    url = known.url if folder_url is None else f"{folder_url.rstrip('/')}/{known.file}"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        if http is None:
            with HttpClient() as client:
                client.download(url, path)
        else:
            http.download(url, path)
    frame = read_any(path)
    if len(frame) != known.rows:
        path.unlink()
        msg = f"the catalogue {name} from {url} has {len(frame)} of {known.rows} rows; run again to fetch it anew"
        raise ArchiveOverflow(msg)
    return frame


def query_gaia(adql: str, *, query: Query | None = None) -> pd.DataFrame:
    """Return the whole answer of the Gaia archive to an ADQL query.

    The rows are counted by the archive as well, so a capped answer is an error, never data.

    Parameters
    ----------
    adql
        One SELECT; tables such as ``gaiadr3.gaia_source``.
    query
        Runs ADQL; by default a job in the archive's queue without a row limit.

    Raises
    ------
    CatalogError
        If `adql` is not one SELECT.
    ArchiveOverflow
        If fewer rows came than there are.
    ArchiveUnavailable, ArchiveRefused, ArchiveAnswerError
        If the archive does not answer, declines, or answers without a count.
    """
    return _counted(adql, query or jobs_at(TAP_GAIA), "the Gaia archive")


def query_vizier_adql(adql: str, *, query: Query | None = None) -> pd.DataFrame:
    """Return the whole answer of VizieR to an ADQL query over its tables; see `query_gaia`."""
    return _counted(adql, query or jobs_at(TAP_VIZIER), "VizieR")


def _counted(adql: str, query: Query, archive: str) -> pd.DataFrame:
    statement = adql.strip().rstrip(";").strip()
    if not re.match(r"select\b", statement, re.IGNORECASE) or ";" in statement:
        msg = f"a query of {archive} is one ADQL SELECT, not {adql[:60]!r}"
        raise CatalogError(msg)
    # A count does not need the order, and servers refuse ORDER BY inside.
    counted = re.sub(r"\border\s+by\b[^)]*$", "", statement, flags=re.IGNORECASE)
    count = f"SELECT COUNT(*) AS n FROM ({counted}) AS q"  # noqa: S608
    return _all_rows(statement, count, query, archive)


@takes_sky()
def query_gaia_cone(ra: float, dec: float, radius: float, *, query: Query | None = None) -> pd.DataFrame:
    """Return all Gaia DR3 stars around a position, in degrees, at J2016.0; see `query_gaia`."""
    fine = all(math.isfinite(number) for number in (ra, dec, radius))
    if not fine or abs(dec) > 90 or not 0 < radius <= _LARGEST_CONE_DEG:
        msg = f"a cone needs ra, dec (-90 to 90) and a radius (0 to 90) in degrees, not {ra}, {dec}, {radius}"
        raise CatalogError(msg)
    where = f"1 = CONTAINS(POINT({ra % 360!r}, {dec!r}), CIRCLE({ra % 360!r}, {dec!r}, {radius!r}))"
    where = where.replace("POINT(", "POINT('ICRS', ").replace("CIRCLE(", "CIRCLE('ICRS', ")
    return query_gaia(f"SELECT {_GAIA_COLUMNS} FROM gaiadr3.gaia_source WHERE {where}", query=query)  # noqa: S608


def query_vizier(table: str, *, query: Query | None = None) -> pd.DataFrame:
    """Return a VizieR table by its identifier, e.g. ``J/MNRAS/508/3877/maincat``; see `query_gaia`."""
    if not _TABLE_ID.fullmatch(table):
        msg = f"{table!r} is no identifier of a VizieR table, such as J/MNRAS/508/3877/maincat"
        raise CatalogError(msg)
    count = f'SELECT COUNT(*) AS n FROM "{table}"'  # noqa: S608
    return _all_rows(f'SELECT * FROM "{table}"', count, query or jobs_at(TAP_VIZIER), "VizieR")  # noqa: S608


def _all_rows(adql: str, count_adql: str, query: Query, archive: str) -> pd.DataFrame:
    frame = _as_frame(_ask(query, adql, archive))
    counted = _as_frame(_ask(query, count_adql, archive))
    if counted.shape[0] != 1 or counted.shape[1] < 1:
        msg = f"{archive} did not say how many rows there are (asked: {count_adql})"
        raise ArchiveAnswerError(msg)
    expected = int(counted.to_numpy()[0, 0])
    if len(frame) != expected:
        msg = f"{archive} returned {len(frame)} of {expected} rows; split the query (asked: {adql})"
        raise ArchiveOverflow(msg)
    return frame


def _ask(query: Query, adql: str, archive: str) -> AstropyTable:
    import http.client

    import requests

    try:
        return query(adql)
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        msg = f"{archive} declined the query with HTTP {status}: {error} (asked: {adql})"
        # 4xx other than "too many" will not get better by asking again.
        raise (ArchiveRefused if 400 <= status < 500 and status != 429 else ArchiveUnavailable)(
            msg
        ) from error
    except (OSError, http.client.HTTPException) as error:
        msg = f"{archive} did not answer: {error}; try again later (asked: {adql})"
        raise ArchiveUnavailable(msg) from error


def _as_frame(table: AstropyTable) -> pd.DataFrame:
    import pandas as pd

    frame: pd.DataFrame = table if isinstance(table, pd.DataFrame) else table.to_pandas()
    return frame


def jobs_at(url: str, http: Clients | None = None) -> Query:
    """Return what asks a TAP service by jobs, through the clients that `http` makes (by default plain ones)."""

    def ask(adql: str) -> AstropyTable:
        with (http or HttpClient)() as client:
            return tap_job(client, url, adql)

    return ask


def query_at(url: str | None) -> Query | None:
    """Return how a TAP service at another address is asked; None for the usual one."""
    return None if url is None else jobs_at(url)
