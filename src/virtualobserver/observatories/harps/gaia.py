"""The star itself: found in Gaia by position and brightness at the date of the spectra, for the HR diagram."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from virtualobserver.catalog.reference import ReferenceCatalogue, ReferenceStars
from virtualobserver.catalog.remote import Query
from virtualobserver.conventions import ARCSEC_PER_DEGREE
from virtualobserver.data.product import Raw, RawRef, Target
from virtualobserver.io.http.answers import expect_votable
from virtualobserver.io.http.client import HttpClient
from virtualobserver.io.http.tap import tap_request, votable_rows
from virtualobserver.maths.astrometry.positions import absolute_magnitude, match_star
from virtualobserver.typing import RecordDict

if TYPE_CHECKING:
    from astropy.table import Table as AstropyTable

__all__ = ["SERVICE", "TAP_URL", "ask", "identify", "query_over"]

SERVICE: Final = "gaia"
TAP_URL: Final = "https://gea.esac.esa.int/tap-server/tap"
_EPOCH: Final = 2016.0
"""Of Gaia DR3, Julian year."""
_ROWS: Final = 2000
"""Most rows of a synchronous answer; a field of HARPS has a hundredth of them, and a cut answer is an error."""


def query_over(http: HttpClient, url: str = TAP_URL) -> Query:
    """Return what asks the Gaia archive with the framework's client: its pace, retries and limits."""

    def query(adql: str) -> AstropyTable:
        address, params = tap_request(url, adql, rows=_ROWS)
        answer = http.get(address, params=params, check=expect_votable())
        return votable_rows(answer.content)

    return query


def ask(catalogue: ReferenceCatalogue, target: Target, *, radius: float = 30.0) -> Raw | None:
    """Return the stars around a target (radius in arcsec) as raw data; None without a position."""
    if target.ra is None or target.dec is None:
        return None
    ra, dec = target.position_at(_EPOCH)
    known = target.pmra is not None and target.pmdec is not None
    wide = radius if known else radius + 0.5 * abs(_EPOCH - target.epoch)
    stars = catalogue.cone(ra, dec, wide / ARCSEC_PER_DEGREE, _EPOCH)
    header = {"service": SERVICE, "catalogue": catalogue.name, "rows": len(stars)}
    name = f"{catalogue.name} {ra:.6f} {dec:.6f} {wide:.1f} arcsec"
    return Raw(name, "csv", content=stars.to_csv(), header=header)


def identify(raws: Sequence[RawRef], target: Target, years: Sequence[float]) -> RecordDict:
    """Return what Gaia knows of the target; empty if it was not asked or no star fits.

    Parameters
    ----------
    raws
        All raw data; the reference catalogue's answers are among them.
    target
        Its position, motion and magnitude.
    years
        Julian years of the spectra: the match is made at their middle.

    Returns
    -------
    dict
        ``catalogue, source_id`` (text), ``match_distance`` (arcsec), ``match_probability, mag, bp_rp, g_rp,
        parallax`` (mas), ``absolute_mag, radial_velocity`` (km/s), ``pmra, pmdec`` (mas/yr).
    """
    answers = [raw for raw in raws if raw.header.get("service") == SERVICE]
    if not answers or target.ra is None or target.dec is None:
        return {}
    answer = answers[-1]
    year = float(np.median(years)) if years else _EPOCH
    stars = ReferenceStars.from_csv(answer.read(), answer.archive_id).at_epoch(year)
    away = stars.distances(*target.position_at(year))
    if target.pmra is None or target.pmdec is None:
        # a list without motions gives the place of its own epoch: each star is carried there instead
        away = np.minimum(away, stars.at_epoch(target.epoch).distances(target.ra, target.dec))
    match = match_star(away, stars.mag, expected=target.mag)
    if match is None:
        return {}
    row = match.row
    numbers = {
        name: float(getattr(stars, name)[row])
        for name in ("mag", "bp_rp", "g_rp", "parallax", "radial_velocity", "pmra", "pmdec")
    }
    numbers["absolute_mag"] = absolute_magnitude(numbers["mag"], numbers["parallax"])
    found: RecordDict = {
        "catalogue": str(answer.header.get("catalogue", "")),
        "source_id": str(int(stars.source_id[row])),
        "match_distance": match.distance,
        "match_probability": match.probability,
    }
    return found | {name: value if math.isfinite(value) else None for name, value in numbers.items()}
