"""The forced photometry service: requests that are queued for minutes to days.

Nothing waits: a run looks a position up in the service's own list of our requests and in our notes, submits
what is in neither, collects what is ready, and fails what is queued with a retryable error, so that the next
run asks again. The list is made anew once an hour and forgets a request after 30 days; the notes bridge
both. The account comes from ``VO_ZTF_USERNAME`` (the e-mail address) and ``VO_ZTF_PASSWORD``, the login that
all users of the service share, printed in its manual, from ``VO_ZTF_SERVICE_USERNAME`` and
``VO_ZTF_SERVICE_PASSWORD``; or all of them from the private credentials file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from virtualobserver.config.credentials import Credentials
from virtualobserver.conventions import MJD_ZERO_JD
from virtualobserver.data.product import Missing, Raw, Target
from virtualobserver.errors import (
    ArchiveAnswerError,
    ArchiveError,
    ArchiveRefused,
    ArchiveUnavailable,
    ConfigError,
    DataError,
)
from virtualobserver.maths.lightcurves.cadence import tangent_offsets
from virtualobserver.observatories.ztf import forced
from virtualobserver.observatories.ztf.live import why_out_of_reach
from virtualobserver.observatories.ztf.query import FORCED_URL, chunks, cone_of
from virtualobserver.observatories.ztf.settings import ZTFSettings
from virtualobserver.observatory import Client, Landed

__all__ = [
    "SERVER",
    "ForcedService",
    "Job",
    "Request",
    "build_batch_form",
    "build_list_params",
    "build_submit_params",
    "parse_jobs",
]

SERVER = FORCED_URL
SUBMIT_URL = f"{SERVER}/cgi-bin/requestForcedPhotometry.cgi"
LIST_URL = f"{SERVER}/cgi-bin/getForcedPhotometryRequests.cgi"
BATCH_SUBMIT_URL = f"{SERVER}/cgi-bin/batchfp.py/submit"
BATCH_LIST_URL = f"{SERVER}/cgi-bin/getBatchForcedPhotometryRequests.cgi"
MAX_BATCH = 1500
"""Positions a request, the service's own limit."""
_LOST_SECONDS = 3 * 86400.0  # a request that the service has not listed by then never arrived
_SAME_ARCSEC, _SAME_DAYS = 0.1, 1e-3  # the service rounds what it lists


@dataclass(frozen=True)
class Request:
    """A position (ICRS, deg) and a span (JD) to be measured."""

    ra: float
    dec: float
    jd_start: float
    jd_end: float

    @property
    def key(self) -> str:
        """The request in one form of words."""
        return f"forced {self.ra:.7f} {self.dec:.7f} {self.jd_start:.5f} {self.jd_end:.5f}"

    def is_of(self, job: Job) -> bool:
        """Say whether a listed job is this request."""
        east, north = tangent_offsets(job.ra, job.dec, self.ra, self.dec)
        spans = ((job.jd_start, self.jd_start), (job.jd_end, self.jd_end))
        same_span = all(listed is None or abs(listed - ours) <= _SAME_DAYS for listed, ours in spans)
        return same_span and bool(np.hypot(east, north) <= _SAME_ARCSEC)


class Job(NamedTuple):
    """One request in the service's list; `path` is empty until the result is ready."""

    number: str
    ra: float
    dec: float
    jd_start: float | None
    jd_end: float | None
    path: str
    ended: bool
    problem: str


def build_submit_params(request: Request, *, email: str, password: str) -> dict[str, str]:
    """Return the parameters that ask for forced photometry at one position."""
    return {
        "ra": f"{request.ra:.7f}",
        "dec": f"{request.dec:.7f}",
        "jdstart": f"{request.jd_start:.5f}",
        "jdend": f"{request.jd_end:.5f}",
        "email": email,
        "userpass": password,
    }


def build_batch_form(requests: Sequence[Request], *, email: str, password: str) -> dict[str, str]:
    """Return the form that asks for up to 1500 positions, which share one span."""
    first = requests[0]
    return {
        "ra": json.dumps([round(request.ra, 7) for request in requests]),
        "dec": json.dumps([round(request.dec, 7) for request in requests]),
        "jdstart": json.dumps(round(first.jd_start, 5)),
        "jdend": json.dumps(round(first.jd_end, 5)),
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
    """Read the service's list of requests, a table in HTML.

    Its columns are reqId, ra, dec, startJD, endJD, created, started, ended, exitcode, exitmsg, lightcurve.
    A page without a table is an account without recent requests, or a list that is just being made.

    Raises
    ------
    ArchiveAnswerError
        If there is a table whose columns are not those of the service.
    """
    pieces = re.findall(r"(?is)<tr[^>]*>(.*?)(?=<tr|</table|$)", page)
    rows = [cells for piece in pieces if (cells := _cells(piece))]
    if not rows:
        return []
    names = [name.lower() for name in rows[0]]
    if missing := [name for name in ("ra", "dec", "lightcurve") if name not in names]:
        shown = ", ".join(names)[:200]
        msg = f"list of forced photometry requests: no column {', '.join(missing)} in {shown}"
        raise ArchiveAnswerError(msg)
    return [_job(dict(zip(names, row, strict=False))) for row in rows[1:]]


def _cells(row: str) -> list[str]:
    """Return the text of the cells of one row of an HTML table."""
    cells = re.findall(r"(?is)<t[hd][^>]*>(.*?)(?=</t[hd]>|<t[hd]|$)", row)
    return [" ".join(re.sub(r"<[^>]*>", " ", cell).split()) for cell in cells]


def _job(row: Mapping[str, str]) -> Job:
    def number(name: str) -> float | None:
        return float(row[name]) if row.get(name) else None

    try:
        ra, dec = float(row["ra"]), float(row["dec"])
        start, end = number("startjd"), number("endjd")
    except (KeyError, ValueError):
        msg = f"list of forced photometry requests: a row without position or dates: {dict(row)}"
        raise ArchiveAnswerError(msg) from None
    path = row.get("lightcurve", "")
    path = path if re.fullmatch(r"/\w[\w./\-]*\.txt", path) and ".." not in path else ""
    ended = bool(path) or row.get("ended", "").lower() not in {"", "none", "null"}
    code, words = row.get("exitcode", ""), row.get("exitmsg", "")
    problem = f"code {code}: {words}".rstrip(": ") if code not in {"", "0", "None", "null"} else ""
    return Job(row.get("reqid", ""), ra, dec, start, end, path, ended, problem)


class ForcedService:
    """The live service as a state machine: unknown, submitted, listed, ready.

    Parameters
    ----------
    client
        Its ``jobs`` are our notes.
    settings
        The span that is asked for.
    """

    def __init__(self, client: Client, settings: ZTFSettings) -> None:
        self._client = client
        self._http = client.http
        self._settings = settings
        self._listed: list[Job] = []

    def fetch(self, targets: Sequence[Target]) -> Iterator[Landed]:
        """Yield the results of a batch of targets, or `ArchiveUnavailable` for what is queued."""
        why = {target.name: why_out_of_reach(target, self._settings) for target in targets}
        yield from ((target, Missing(why[target.name])) for target in targets if why[target.name])
        targets = [target for target in targets if not why[target.name]]
        unknown: list[tuple[Target, Request]] = []
        try:
            self._listed = self._list() if targets else []
        except ArchiveError as error:
            yield from ((target, error) for target in targets)
            return
        for target in targets:
            try:
                request = self._request(target)
                if self._is_unknown(request):
                    unknown.append((target, request))
                    continue
                raw = self._collect(target, request)
            except (ArchiveError, DataError) as error:
                yield target, error
            else:
                yield target, raw or Missing("the forced photometry service measured no epochs")
        for part in chunks(unknown, MAX_BATCH):
            yield from self._submit(part)

    def _request(self, target: Target) -> Request:
        cone = cone_of(target, self._settings.cone_radius)
        start, end = self._settings.forced_start + MJD_ZERO_JD, self._settings.forced_end + MJD_ZERO_JD
        return Request(cone.ra, cone.dec, start, end)

    def _jobs(self, request: Request) -> list[Job]:
        return [job for job in self._listed if request.is_of(job)]

    def _is_unknown(self, request: Request) -> bool:
        """Say whether the request is neither listed nor in our notes."""
        if self._jobs(request):
            return False
        note = self._client.jobs.get(request.key)
        if note is None or note.get("state") == "gone":
            return True
        return not note.get("path") and float(note["age"]) > _LOST_SECONDS

    def _list(self) -> list[Job]:
        """Return our recent requests, single ones and those of batches."""
        params = build_list_params(**self._account)
        urls = [self._at(url) for url in (LIST_URL, BATCH_LIST_URL)]
        pages = [self._http.get(url, params=params, login=self._login) for url in urls]
        return [job for page in pages for job in parse_jobs(page.text)]

    def _collect(self, target: Target, request: Request) -> Raw | None:
        """Return the result of a request that is known; None if the service found nothing there."""
        jobs, note = self._jobs(request), self._client.jobs.get(request.key) or {}
        path = next((job.path for job in reversed(jobs) if job.path), "") or str(note.get("path", ""))
        if path:
            return self._download(target, request, path)
        if not jobs:
            msg = f"source {target.name}: submitted for forced photometry, not listed yet; run again later"
            raise ArchiveUnavailable(msg)
        if all(job.ended for job in jobs):
            if jobs[-1].problem:
                msg = f"source {target.name}: forced photometry ended with {jobs[-1].problem}"
                raise ArchiveAnswerError(msg)
            return None
        msg = f"source {target.name}: still queued at the forced photometry service; run again later"
        raise ArchiveUnavailable(msg)

    def _download(self, target: Target, request: Request, path: str) -> Raw | None:
        self._client.jobs.put(request.key, {"state": "ready", "path": path})
        try:
            answer = self._http.get(self._at(SERVER + path), check=forced.check_result, login=self._login)
        except ArchiveRefused as error:
            if self._jobs(request):
                raise
            self._client.jobs.put(request.key, {"state": "gone"})
            msg = f"source {target.name}: the result is no longer kept ({error}); run again to submit it anew"
            raise ArchiveUnavailable(msg) from None
        return forced.raw_of(answer.content, request.key) if not answer.empty else None

    def _submit(self, part: Sequence[tuple[Target, Request]]) -> Iterator[Landed]:
        """Submit positions, once: a repeated submission would be measured twice."""
        requests = [request for _, request in part]
        try:
            if len(part) == 1:
                params = build_submit_params(requests[0], **self._account)
                self._http.get(self._at(SUBMIT_URL), params=params, login=self._login, repeat=False)
            else:
                form = build_batch_form(requests, **self._account)
                self._http.post(self._at(BATCH_SUBMIT_URL), data=form, login=self._login, repeat=False)
        except ArchiveError as error:
            yield from ((target, error) for target, _ in part)
            return
        for request in requests:
            self._client.jobs.put(request.key, {"state": "submitted"})
        for target, _ in part:
            msg = f"source {target.name}: submitted for forced photometry; run again later to collect"
            yield target, ArchiveUnavailable(msg)

    def _at(self, url: str) -> str:
        """Return an address of the service at the server that the settings name."""
        return self._settings.forced_url.rstrip("/") + url.removeprefix(SERVER)

    @cached_property
    def _account(self) -> dict[str, str]:
        email, password = _credentials("ztf", "an account: set VO_ZTF_USERNAME (e-mail) and VO_ZTF_PASSWORD")
        return {"email": email, "password": password}

    @cached_property
    def _login(self) -> tuple[str, str]:
        what = "the login in the service's manual: set VO_ZTF_SERVICE_USERNAME and VO_ZTF_SERVICE_PASSWORD"
        return _credentials("ztf_service", what)


def _credentials(name: str, what: str) -> tuple[str, str]:
    try:
        found = Credentials.find(name)
    except ConfigError as error:
        raise ArchiveRefused(str(error)) from None
    if not (found.username and found.password):
        msg = f"forced photometry needs {what}"
        raise ArchiveRefused(msg)
    return found.username, found.password
