"""From the bytes of an answer to a piece of raw data: checked, but not changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from virtualobserver.data.product import Raw
from virtualobserver.io.gzipped import plain_bytes
from virtualobserver.observatories.ztf.table import COLUMNS, Columns, header_of, parse
from virtualobserver.typing import Record, RecordDict

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["lightcurve_raw"]


def lightcurve_raw(
    content: bytes,
    archive_id: str,
    *,
    kind: str = "csv",
    path: Path | None = None,
    header: Record | None = None,
) -> Raw | None:
    """Check a light-curve answer and describe it.

    Parameters
    ----------
    content
        The bytes as the service returned them.
    archive_id
        File name, or the request in a few words.
    kind
        ``csv`` or ``votable``.
    path
        The file they came from; it stays where it is.
    header
        Further facts to keep, e.g. the release.

    Returns
    -------
    Raw or None
        None if the answer holds no epoch.

    Raises
    ------
    BadKeyword, InvalidFile, ArchiveAnswerError
        If the bytes are not a light curve.
    """
    columns = parse(content, archive_id)
    if not len(columns["mjd"]):
        return None
    facts = {**(header or {}), **_facts(columns)}
    if kind == "csv":
        facts["unknown_columns"] = [
            name for name in header_of(plain_bytes(content, archive_id)) if name not in COLUMNS
        ]
    held: RecordDict = {"path": path, "in_place": True} if path is not None else {"content": content}
    return Raw(archive_id, kind, **held, obscore=_obscore(columns, archive_id), header=facts)


def _facts(columns: Columns) -> RecordDict:
    return {
        "epochs": len(columns["mjd"]),
        "oids": [int(oid) for oid in np.unique(columns["oid"])],
        "filters": [str(name) for name in np.unique(columns["filtercode"])],
        "flagged": int(np.count_nonzero(columns["catflags"])),
        "out_of_range": int(np.count_nonzero(columns["out_of_range"])),
    }


def _obscore(columns: Columns, archive_id: str) -> RecordDict:
    """Return what ObsCore wants to know; times are starts and ends of exposures."""
    start, end = columns["mjd"], columns["mjd"] + np.nan_to_num(columns["exptime"]) / 86400.0
    first, last = _least(start), _least(-end)
    # objects of one exposure share it
    _, once = np.unique(start, return_index=True)
    facts: RecordDict = {"obs_id": archive_id, "t_exptime": float(np.nansum(columns["exptime"][once]))}
    if first is not None and last is not None:
        facts |= {"t_min": first, "t_max": -last}
    return facts


def _least(values: NDArray[np.float64]) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.min()) if len(finite) else None
