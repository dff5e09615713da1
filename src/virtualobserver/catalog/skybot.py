"""SkyBoT of IMCCE: which known bodies are in a field at a date (Berthier et al. 2006, ASP Conf. Ser. 351, 367)."""

from __future__ import annotations

import io
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.catalog.bodies import BodiesSeen
from virtualobserver.conventions import ARCSEC_PER_DEGREE, HOURS_PER_DAY, MJD_ZERO_JD
from virtualobserver.errors import ArchiveAnswerError, ConfigError
from virtualobserver.io.http.answers import Answer, expect_votable
from virtualobserver.io.http.client import HttpClient
from virtualobserver.maths.times import Site

if TYPE_CHECKING:
    from astropy.table import Table as AstropyTable

__all__ = ["ADDRESS", "SkyBot", "parse_bodies", "skybot_request"]

FloatArray = NDArray[np.float64]

ADDRESS: Final = "https://ssp.imcce.fr/webservices/skybot/api/conesearch.php"
_WORST: Final = 120.0
"""Largest error of a place that the service gives bodies for, arcsec: all it knows."""
_DATES: Final = (2411320.0, 2473540.0)
"""Julian dates that it answers for."""
_ROUNDED: Final = 1e-5
"""Days, and degrees, to which questions are rounded, so that the same night asks the same again."""
_AGE: Final = 30 * 86400.0
"""Seconds an answer is kept; orbits are refreshed weekly, those of known bodies hardly change."""
_CODE: Final = 3
"""Letters of a code of the Minor Planet Center."""


def skybot_request(mjd: float, ra: float, dec: float, radius: float, *, code: str) -> dict[str, str]:
    """Return the parameters of one question: a time (MJD, UTC), a cone (deg) and the code of the observatory.

    Raises
    ------
    ConfigError
        If the code is none, or the service has no answers for the time.
    """
    if len(code) != _CODE or not code.isalnum():
        msg = f"SkyBoT needs the observatory's code at the Minor Planet Center, three letters such as J75, not {code!r}"
        raise ConfigError(msg)
    jd = mjd + MJD_ZERO_JD
    if not _DATES[0] <= jd <= _DATES[1]:
        msg = f"SkyBoT knows bodies from 1889 to 2060, not at MJD {mjd:g}"
        raise ConfigError(msg)
    return {
        "-ep": f"{jd:.6f}", "-ra": f"{ra % 360:.5f}", "-dec": f"{dec:.5f}", "-rd": f"{radius:.5f}", "-loc": code,
        "-filter": f"{_WORST:g}", "-objFilter": "111", "-refsys": "EQJ2000", "-output": "obs", "-mime": "votable",
        "-from": "virtualobserver",
    }  # fmt: skip


def parse_bodies(content: bytes, where: str = "SkyBoT") -> BodiesSeen:
    """Return the bodies of one answer, at its one time.

    Raises
    ------
    ArchiveAnswerError
        If it is no table of bodies.
    """
    from astropy.io.votable import parse_single_table
    from astropy.io.votable.exceptions import VOTableSpecError

    try:
        table = parse_single_table(io.BytesIO(content), verify="ignore").to_table()
    except (VOTableSpecError, IndexError, ValueError, OSError) as error:
        if b"<vot:TR" not in content and b"<TR" not in content and b"VOTABLE" in content:
            return BodiesSeen.none(1)
        msg = f"{where} sent no table of bodies: {error}"
        raise ArchiveAnswerError(msg) from error
    if missing := {"num", "name", "_raj2000", "_decj2000", "dracosdec", "ddec", "dgeo", "dhelio"} - set(
        table.colnames
    ):
        msg = f"{where} sent a table without {', '.join(sorted(missing))}"
        raise ArchiveAnswerError(msg)
    numbers = [str(one).strip() for one in table["num"]]

    def plane(name: str) -> FloatArray:
        column = np.ma.filled(np.ma.asarray(table[name], dtype=np.float64), np.nan)
        return np.asarray(column, dtype=np.float64)[:, None]

    return BodiesSeen(
        np.array([str(one).strip() for one in table["name"]], dtype=str),
        np.array([int(one) if one.isdigit() else 0 for one in numbers], dtype=np.int64),
        plane("_raj2000"), plane("_decj2000"), plane("dracosdec"), plane("ddec"), plane("dhelio"), plane("dgeo"),
        np.full((len(table), 1), np.nan), plane("magV"), plane("errpos")[:, 0], _classes(table),
    )  # fmt: skip


def _classes(table: AstropyTable) -> NDArray[np.str_]:
    if "class" not in table.colnames:
        return np.full(len(table), "", dtype="U1")
    return np.array(["" if one is np.ma.masked else str(one).strip() for one in table["class"]], dtype=str)


@dataclass(frozen=True)
class SkyBot:
    """Asks SkyBoT, and keeps what it answers in a folder; see `virtualobserver.catalog.bodies.KnownBodies`."""

    client: HttpClient
    folder: Path
    address: str = ADDRESS

    @property
    def label(self) -> str:
        """What properties of a search say."""
        return "SkyBoT"

    def ask(self, mjd: float, ra: float, dec: float, radius: float, *, code: str) -> BodiesSeen:
        """Return the bodies in a cone at one time.

        Raises
        ------
        ArchiveError
            If the service does not answer, or says that it failed, also under status 200.
        """
        when, a, d = (round(one / _ROUNDED) * _ROUNDED for one in (mjd, ra, dec))
        answer = self.client.cached_get(
            self.address, folder=self.folder, params=skybot_request(when, a, d, radius, code=code),
            check=_whole, max_age=_AGE,
        )  # fmt: skip
        return parse_bodies(answer.content, "SkyBoT")

    def seen(
        self, mjd: FloatArray, ra: float, dec: float, radius: float, *, site: Site | None, code: str
    ) -> BodiesSeen:
        """Return the bodies in a field; see `KnownBodies`.

        The service is asked for the first, the middle and the last time; places between are on a parabola. Without a
        site phase angles are those from the middle of the Earth, which differ by less than 0.01 degrees at 0.3 au.
        """
        ends = np.unique([mjd.min(), 0.5 * (mjd.min() + mjd.max()), mjd.max()])
        answers = [self.ask(float(one), ra, dec, radius, code=code) for one in ends]
        return _phased(_joined(answers, ends, np.asarray(mjd, dtype=np.float64)), mjd, site)


def _whole(answer: Answer) -> bool | None:
    """Refuse what SkyBoT says about itself under status 200: ``# Flag: -1`` and the text after it."""
    text = answer.content[:2000].decode("utf-8", errors="replace")
    if text.lstrip().startswith("#"):
        said = " ".join(line.lstrip("# ").strip() for line in text.splitlines() if line.strip())[:300]
        msg = f"SkyBoT did not search: {said}"
        raise ArchiveAnswerError(msg)
    return expect_votable()(answer)


def _joined(answers: list[BodiesSeen], times: FloatArray, mjd: FloatArray) -> BodiesSeen:
    """Return all bodies of the answers at all times."""
    names = dict.fromkeys(str(name) for one in answers for name in one.name)
    rows = []
    for name in names:
        hits = [
            (t, one.take(one.name == name)) for t, one in zip(times, answers, strict=True) if name in one.name
        ]
        rows.append(_moved([one for _, one in hits], np.array([t for t, _ in hits]), mjd))
    if not rows:
        return BodiesSeen.none(mjd.size)
    return BodiesSeen(
        *(np.concatenate([getattr(row, one.name) for row in rows]) for one in fields(BodiesSeen))
    )


def _moved(hits: list[BodiesSeen], known: FloatArray, mjd: FloatArray) -> BodiesSeen:
    """Return one body at all times: from the answer next to each along its rate, which changes evenly."""
    nearest = np.argmin(np.abs(mjd[None, :] - known[:, None]), axis=0)
    hours = (mjd - known[nearest]) * HOURS_PER_DAY

    def given(name: str) -> FloatArray:
        return np.array([getattr(one, name)[0, 0] for one in hits], dtype=np.float64)

    def between(name: str) -> FloatArray:
        return np.asarray(np.interp(mjd, known, given(name)), dtype=np.float64)

    def shift(name: str) -> FloatArray:
        return np.asarray(0.5 * (between(name) + given(name)[nearest]) * hours / ARCSEC_PER_DEGREE)

    dec = given("dec")[nearest] + shift("rate_dec")
    ra = (given("ra")[nearest] + shift("rate_ra") / np.cos(np.radians(dec))) % 360.0
    planes = (
        ra, dec, between("rate_ra"), between("rate_dec"), between("heliocentric_distance"),
        between("observer_distance"), np.full(mjd.size, np.nan), between("mag"),
    )  # fmt: skip
    a, b, c, d, e, f, g, h = (plane[None, :] for plane in planes)
    return BodiesSeen(
        hits[0].name, hits[0].number, a, b, c, d, e, f, g, h, hits[0].error, hits[0].orbit_class
    )


def _phased(bodies: BodiesSeen, mjd: FloatArray, site: Site | None) -> BodiesSeen:
    """Return the bodies with their phase angles, from the triangle of Sun, body and observer."""
    from virtualobserver.maths.ephemeris.perturbed import Planets
    from virtualobserver.maths.ephemeris.seen import Observer

    if not len(bodies):
        return bodies
    observer = Observer.at(mjd, site)
    sun = Planets.between(float(observer.tdb.min()), float(observer.tdb.max())).sun(observer.tdb)
    base = np.linalg.norm(observer.position - sun, axis=1)
    r, delta = bodies.heliocentric_distance, bodies.observer_distance
    cosine = (r**2 + delta**2 - base**2) / (2 * r * delta)
    return replace(bodies, phase_angle=np.degrees(np.arccos(np.clip(cosine, -1, 1))))
