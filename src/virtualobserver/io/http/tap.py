"""Questions to services of the Table Access Protocol (IVOA TAP 1.1), and answers as tables."""

from __future__ import annotations

import io
import re
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from virtualobserver.errors import ArchiveRefused, ArchiveUnavailable
from virtualobserver.io.http.answers import expect_votable

if TYPE_CHECKING:
    from astropy.table import Table

    from virtualobserver.io.http.client import HttpClient

__all__ = ["tap_job", "tap_request", "votable_rows"]

PATIENCE: Final = 7200.0
"""Seconds that a job may take; archives end them after about as long."""
_PAUSES: Final = (1.0, 30.0)
"""Seconds between questions how a job is doing: at first, and at most."""
_FAILED: Final = frozenset({"ERROR", "ABORTED", "HELD", "SUSPENDED", "ARCHIVED", "UNKNOWN"})


def tap_request(url: str, adql: str, *, rows: int) -> tuple[str, dict[str, str]]:
    """Return address and parameters of a synchronous query for at most so many rows, as pyvo makes them."""
    from pyvo.dal import TAPQuery

    asked = TAPQuery(url, adql, mode="sync", language="ADQL", maxrec=rows)
    return str(asked.queryurl), {str(name): str(value) for name, value in asked.items()}


def votable_rows(content: bytes) -> Table:
    """Return the one table of a VOTable that was found whole and good, its columns by name."""
    from astropy.io.votable import parse_single_table

    with warnings.catch_warnings():
        # archives differ in how they spell units and versions
        warnings.simplefilter("ignore")
        return parse_single_table(io.BytesIO(content)).to_table(use_names_over_ids=True)


def tap_job(
    http: HttpClient,
    url: str,
    adql: str,
    *,
    patience: float = PATIENCE,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Table:
    """Return the answer to a query that a service works on in its queue (UWS), without a limit of rows.

    Each exchange has the deadlines and takes the turns of the client; the job as a whole has `patience` seconds.

    Parameters
    ----------
    url
        Of the service, without ``/async``.

    Raises
    ------
    ArchiveRefused
        If the job fails, with what the service says.
    ArchiveUnavailable
        If it does not end in time; what `HttpClient.get` raises besides.
    """
    form = {"REQUEST": "doQuery", "LANG": "ADQL", "FORMAT": "votable", "QUERY": adql, "PHASE": "RUN"}
    job = http.post(f"{url.rstrip('/')}/async", data=form, repeat=False).url.partition("?")[0].rstrip("/")
    end, pause = clock() + patience, _PAUSES[0]
    while (phase := http.get(f"{job}/phase").text.strip().upper()) != "COMPLETED":
        if phase in _FAILED:
            said = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", http.get(f"{job}/error").text)).strip()
            msg = f"{url}: the job ended with {phase}: {said[:300] or 'no reason given'} (asked: {adql})"
            raise ArchiveRefused(msg)
        if clock() > end:
            msg = f"{url}: the job is {phase or 'not done'} after {patience:g} s; try again later (asked: {adql})"
            raise ArchiveUnavailable(msg)
        sleep(pause)
        pause = min(1.5 * pause, _PAUSES[1])
    return votable_rows(http.get(f"{job}/results/result", check=expect_votable()).content)
