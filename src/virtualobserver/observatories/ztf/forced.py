"""Result files of the forced photometry service, with difference fluxes at one position."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from virtualobserver.conventions import MJD_ZERO_JD
from virtualobserver.data.product import Raw, Target
from virtualobserver.errors import BadKeyword, IncompleteDownload, InvalidFile
from virtualobserver.io.http.answers import Answer, not_html
from virtualobserver.maths.lightcurves.cadence import tangent_offsets
from virtualobserver.observatories.ztf.calibrate import lightcurves
from virtualobserver.observatories.ztf.table import Columns, without_impossible
from virtualobserver.typing import RecordDict

if TYPE_CHECKING:
    from virtualobserver.maths.arrays import Array

__all__ = ["FORMAT", "check_result", "is_near", "lightcurves", "parse", "raw_of", "requested_at"]

FORMAT = "ztf-forced"
_TEXT = ("filter", "procstatus")
_MISSING = frozenset({"null", "none", "na", "n/a", "--"})
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


def check_result(answer: Answer) -> bool:
    """Accept a result file; True if it has no epoch.

    Raises
    ------
    ArchiveAnswerError
        If the body is a web page.
    IncompleteDownload
        If the file is cut, which the client answers by asking again.
    """
    not_html(answer)
    try:
        return not len(parse(answer.content, answer.url)["jd"])
    except InvalidFile as error:
        raise IncompleteDownload(str(error)) from None


def requested_at(path: Path) -> tuple[float, float] | None:
    """Return the position (deg) a result file was requested for; None if it does not say."""
    with path.open("rb") as stream:
        found = {name: float(value) for name, value in _REQUESTED.findall(stream.read(2000))}
    return (found[b"R.A."], found[b"Dec."]) if set(found) == {b"R.A.", b"Dec."} else None


def is_near(place: tuple[float, float] | None, target: Target, radius: float) -> bool:
    """Say whether a requested position is within `radius` arcsec of `target`."""
    if target.ra is None or target.dec is None or place is None:
        return False
    east, north = tangent_offsets(*place, target.ra, target.dec)
    return bool(np.hypot(east, north) <= radius)


def raw_of(content: bytes, archive_id: str, *, path: Path | None = None) -> Raw | None:
    """Check a result file and describe it; None if it has no epoch. Errors are those of `parse`."""
    columns = parse(content, archive_id)
    if not len(columns["jd"]):
        return None
    start = columns["jd"] - MJD_ZERO_JD
    found = {name.decode(): float(value) for name, value in _REQUESTED.findall(content[:2000])}
    header: RecordDict = {"epochs": len(start), "requested": found}
    header["filters"] = sorted({str(name) for name in columns["filter"]})
    obscore = {"obs_id": archive_id, "t_min": float(np.nanmin(start)), "t_max": float(np.nanmax(start))}
    obscore["t_exptime"] = float(np.nansum(columns["exptime"]))
    held: RecordDict = {"path": path, "in_place": True} if path is not None else {"content": content}
    return Raw(archive_id, FORMAT, **held, obscore=obscore, header=header)


_OURS = {"jd": "hjd"}


def parse(content: bytes, name: str) -> Columns:
    """Read a result file of the service; values that cannot be are NaN, with ``out_of_range`` 1 in their rows.

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
    columns = {column: _column(values, column, name) for column, values in zip(names, cells, strict=True)}
    return without_impossible(columns, name, names=_OURS)


def _column(values: Sequence[str], column: str, name: str) -> Array:
    if column in _TEXT:
        return np.array(values, dtype="U64")
    try:
        return np.array([np.nan if value.lower() in _MISSING else float(value) for value in values])
    except ValueError as error:
        msg = f"{name}: column {column} holds something that is not a number ({error})"
        raise BadKeyword(msg) from None
