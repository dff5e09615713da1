"""Forced photometry: requests to the service, its result files, and their reduction.

The service queues a request for minutes to days. Nothing waits: a run looks the position up in the
service's own list of our requests; it submits what is not there, collects what is ready, and fails what is
queued with a retryable error, so that the next run asks again. The account comes from ``VO_ZTF_USERNAME``
(the e-mail address) and ``VO_ZTF_PASSWORD``, or the private credentials file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from virtualobserver.config.credentials import Credentials
from virtualobserver.conventions import MJD_ZERO_JD
from virtualobserver.data.product import Raw, Target
from virtualobserver.errors import (
    ArchiveAnswerError,
    ArchiveError,
    ArchiveRefused,
    ArchiveUnavailable,
    BadKeyword,
    ConfigError,
    DataError,
    InvalidFile,
)
from virtualobserver.maths.timeseries import tangent_offsets
from virtualobserver.observatories.ztf.calibrate import lightcurves
from virtualobserver.observatories.ztf.live import out_of_reach
from virtualobserver.observatories.ztf.query import cone_of
from virtualobserver.observatories.ztf.settings import ZTFSettings
from virtualobserver.observatories.ztf.table import Columns
from virtualobserver.observatory import Client, Landed

if TYPE_CHECKING:
    from virtualobserver.io.http import HttpClient

__all__ = [
    "FORMAT",
    "ForcedService",
    "Job",
    "build_list_params",
    "build_submit_params",
    "lightcurves",
    "parse",
    "parse_jobs",
    "raw_of",
    "requested_near",
]

FORMAT = "ztf-forced"
SERVER = "https://ztfweb.ipac.caltech.edu"
SUBMIT_URL = f"{SERVER}/cgi-bin/requestForcedPhotometry.cgi"
LIST_URL = f"{SERVER}/cgi-bin/getForcedPhotometryRequests.cgi"

_TEXT = ("filter", "procstatus")
_NEEDED = (
    "field",
    "ccdid",
    "qid",
    "filter",
    "infobitssci",
    "sciinpseeing",
    "scisigpix",
    "exptime",
    "zpdiff",
    "jd",
    "forcediffimflux",
    "forcediffimfluxunc",
    "forcediffimchisq",
    "dnearestrefsrc",
    "nearestrefmag",
    "nearestrefmagunc",
    "nearestrefsharp",
    "refjdstart",
    "refjdend",
    "procstatus",
)
_REQUESTED = re.compile(rb"#\s*Requested input (R\.A\.|Dec\.)\s*=\s*([-+0-9.eE]+)")


class Job(NamedTuple):
    """One request in the service's list; `path` is empty until the result is ready."""

    ra: float
    dec: float
    path: str
    ended: bool


def build_submit_params(
    ra: float, dec: float, settings: ZTFSettings, *, email: str, password: str
) -> dict[str, str]:
    """Return the parameters that ask for forced photometry at a position (deg)."""
    return {
        "ra": f"{ra:.7f}",
        "dec": f"{dec:.7f}",
        "jdstart": f"{settings.forced_start + MJD_ZERO_JD:.5f}",
        "jdend": f"{settings.forced_end + MJD_ZERO_JD:.5f}",
        "email": email,
        "userpass": password,
    }


def build_list_params(*, email: str, password: str) -> dict[str, str]:
    """Return the parameters that ask for the list of recent requests."""
    return {
        "email": email,
        "userpass": password,
        "option": "All recent jobs",
        "action": "Query Database",
    }


def parse_jobs(page: str) -> list[Job]:
    """Read the service's list of requests, a table in HTML; an account without requests has none.

    Raises
    ------
    ArchiveAnswerError
        If there is a table whose columns are not those of the service.
    """
    pieces = re.findall(r"(?is)<tr[^>]*>(.*?)(?=<tr|</table|$)", page)
    rows = [_cells(piece) for piece in pieces if _cells(piece)]
    if not rows:
        return []
    names = [name.lower() for name in rows[0]]
    if missing := [name for name in ("ra", "dec", "ended", "lightcurve") if name not in names]:
        shown = ", ".join(names)[:200]
        msg = f"list of forced photometry requests: no column {', '.join(missing)} in {shown}"
        raise ArchiveAnswerError(msg)
    return [_job(dict(zip(names, row, strict=False))) for row in rows[1:]]


def _cells(row: str) -> list[str]:
    """Return the text of the cells of one row of an HTML table."""
    cells = re.findall(r"(?is)<t[hd][^>]*>(.*?)</t[hd]>", row)
    return [" ".join(re.sub(r"<[^>]*>", " ", cell).split()) for cell in cells]


def _job(row: Mapping[str, str]) -> Job:
    try:
        ra, dec = float(row["ra"]), float(row["dec"])
    except (KeyError, ValueError):
        msg = f"list of forced photometry requests: a row without position: {dict(row)}"
        raise ArchiveAnswerError(msg) from None
    path = row.get("lightcurve", "")
    ended = row.get("ended", "").lower() not in {"", "none", "null"}
    return Job(ra, dec, path if path.endswith(".txt") else "", ended)


@dataclass(frozen=True)
class _Place:
    ra: float
    dec: float

    def is_at(self, ra: float, dec: float, radius: float = 0.1) -> bool:
        east, north = tangent_offsets(ra, dec, self.ra, self.dec)
        return bool(np.hypot(east, north) <= radius)


class ForcedService:
    """The live service as a state machine without a memory of its own: not known, queued, ready."""

    def __init__(self, client: Client, settings: ZTFSettings) -> None:
        self._http: HttpClient = client.http
        self._settings = settings
        self._jobs: list[Job] | None = None

    def fetch(self, target: Target) -> Iterator[Landed]:
        """Yield the result of one target, or `ArchiveUnavailable` while it is queued."""
        if target.dec is not None and out_of_reach(target, self._settings):
            return
        try:
            raw = self._raw(target)
        except (ArchiveError, DataError) as error:
            yield target, error
            return
        if raw is not None:
            yield target, raw

    def _raw(self, target: Target) -> Raw | None:
        cone = cone_of(target, self._settings.cone_radius)
        place = _Place(cone.ra, cone.dec)
        email, password = self._account()
        if self._jobs is None:
            answer = self._http.post(LIST_URL, data=build_list_params(email=email, password=password))
            self._jobs = parse_jobs(answer.text)
        jobs = [job for job in self._jobs if place.is_at(job.ra, job.dec)]
        if not jobs:
            params = build_submit_params(place.ra, place.dec, self._settings, email=email, password=password)
            self._http.get(SUBMIT_URL, params=params)
            self._jobs.append(Job(place.ra, place.dec, "", ended=False))
            msg = f"source {target.name}: submitted for forced photometry; run again later to collect"
            raise ArchiveUnavailable(msg)
        ready = [job for job in jobs if job.path]
        if ready:
            name = f"forced {cone.ra:.7f} {cone.dec:.7f}"
            return raw_of(self._http.get(SERVER + ready[-1].path).content, name)
        if all(job.ended for job in jobs):
            return None  # done, and there was nothing at this position
        msg = f"source {target.name}: still queued at the forced photometry service; run again later"
        raise ArchiveUnavailable(msg)

    def _account(self) -> tuple[str, str]:
        try:
            account = Credentials.find("ztf")
        except ConfigError as error:
            raise ArchiveRefused(str(error)) from None
        if not (account.username and account.password):
            msg = "forced photometry needs an account: set VO_ZTF_USERNAME (e-mail) and VO_ZTF_PASSWORD"
            raise ArchiveRefused(msg)
        return account.username, account.password


def requested_near(content: bytes, target: Target, radius: float) -> bool:
    """Say whether a result file was requested within `radius` arcsec of `target`."""
    found = {name: float(value) for name, value in _REQUESTED.findall(content[:2000])}
    if target.ra is None or target.dec is None or set(found) != {b"R.A.", b"Dec."}:
        return False
    return _Place(target.ra, target.dec).is_at(found[b"R.A."], found[b"Dec."], radius)


def raw_of(content: bytes, archive_id: str, *, path: Path | None = None) -> Raw | None:
    """Check a result file and describe it; None if it has no epoch. Errors are those of `parse`."""
    columns = parse(content, archive_id)
    if not len(columns["jd"]):
        return None
    start = columns["jd"] - MJD_ZERO_JD
    found = {name.decode(): float(value) for name, value in _REQUESTED.findall(content[:2000])}
    header: dict[str, Any] = {"epochs": len(start), "requested": found}
    header["filters"] = sorted({str(name) for name in columns["filter"]})
    obscore = {"obs_id": archive_id, "t_min": float(start.min()), "t_max": float(start.max())}
    held: dict[str, Any] = {"path": path, "in_place": True} if path is not None else {"content": content}
    return Raw(archive_id, FORMAT, **held, obscore=obscore, header=header)


def parse(content: bytes, name: str) -> Columns:
    """Read a result file of the service.

    Comment lines begin with ``#``; the header line has commas, the rows have blanks; ``null`` is missing.

    Returns
    -------
    columns
        Floats of shape (n,), missing values NaN, except ``filter`` and ``procstatus``, which are text.

    Raises
    ------
    InvalidFile
        If this is not such a file, or it is cut.
    BadKeyword
        If a column is missing or is not a number.
    """
    text = content.decode("utf-8", "replace")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if text.lstrip()[:1] in {"<", "{"} or not lines or "," not in lines[0]:
        msg = f"{name}: not a result of the forced photometry service; fetch it again"
        raise InvalidFile(msg)
    names = [column.strip() for column in lines[0].split(",")]
    if missing := [column for column in _NEEDED if column not in names]:
        msg = f"{name}: no column {', '.join(missing)}; a result of the forced photometry service is expected"
        raise BadKeyword(msg)
    rows = [line.split() for line in lines[1:]]
    if rows and (not text.endswith("\n") or any(len(row) != len(names) for row in rows)):
        msg = f"{name}: a row has not {len(names)} values or its line is not ended, so the file is cut"
        raise InvalidFile(msg)
    cells = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return {column: _column(values, column, name) for column, values in zip(names, cells, strict=True)}


def _column(values: Sequence[str], column: str, name: str) -> np.ndarray[Any, np.dtype[Any]]:
    if column in _TEXT:
        return np.array(values, dtype="U64")
    try:
        return np.array([np.nan if value == "null" else float(value) for value in values], dtype=np.float64)
    except ValueError as error:
        msg = f"{name}: column {column} holds something that is not a number ({error})"
        raise BadKeyword(msg) from None
