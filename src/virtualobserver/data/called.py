"""What bodies that nobody knows are called, once people have judged them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from virtualobserver.conventions import ARCSEC_PER_DEGREE, WITHDRAWN
from virtualobserver.maths.astrometry.sphere import separation
from virtualobserver.typing import QueryRow, Record

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["called", "last_verdicts"]

_WORDS: Final = {"candidate": "AST", "unsure": "UNK"}
"""What verdicts make of a name; others leave it to what the search said itself."""
_SAME_TIME: Final = 1e-5
"""Days; the times of images, written with five digits."""
_SAME_SKY: Final = 5.0
"""arcsec within which two detections at one time are of one body."""


def last_verdicts(detections: pd.DataFrame, verdicts: pd.DataFrame) -> dict[str, str]:
    """Return the last verdict on each source, by name; one that was withdrawn is none.

    A verdict whose detection is gone, or was of a source that has another name now, is of the source with a detection
    then and there.

    Parameters
    ----------
    detections
        Columns ``id, source, analysis, peak_mjd, ra, dec``.
    verdicts
        Columns ``detection, verdict, created, analysis, start_mjd, ra, dec``, the oldest first.
    """
    sources = dict(zip(detections["id"].tolist(), detections["source"].tolist(), strict=True))
    last: dict[str, str] = {}
    given: list[QueryRow] = list(verdicts.itertuples(index=False))
    for row in given:
        source = sources.get(row.detection) or _source_at(detections, row)
        if source is None:
            continue
        if row.verdict == WITHDRAWN:
            last.pop(source, None)
        else:
            last[source] = row.verdict
    return last


def called(facts: Record, verdict: str | None) -> str:
    """Return the name of a body: that which it is known by, else ``AST_n`` or ``UNK_n``.

    Parameters
    ----------
    facts
        Parameters of one of its detections: ``label, number, class``. What has no number keeps its label.
    verdict
        The last one on it, None if nobody judged.
    """
    word = _WORDS.get(verdict or "")
    if facts.get("class") == "known" or word is None or facts.get("number") is None:
        return str(facts.get("label") or "")
    return f"{word}_{facts['number']}"


# --- inside -----------------------------------------------------------------------------------------------


def _source_at(detections: pd.DataFrame, verdict: QueryRow) -> str | None:
    """Return the source with a detection when and where a verdict was given on one, None if there is none."""
    place = np.array([verdict.start_mjd, verdict.ra, verdict.dec], np.float64)
    if not np.isfinite(place).all():
        return None
    mjd, ra, dec = (detections[name].to_numpy(np.float64) for name in ("peak_mjd", "ra", "dec"))
    now = np.flatnonzero(
        (detections["analysis"].to_numpy(str) == verdict.analysis)
        & (np.abs(mjd - place[0]) < _SAME_TIME) & np.isfinite(ra) & np.isfinite(dec)
    )  # fmt: skip
    if not now.size:
        return None
    away = separation(ra[now], dec[now], place[1], place[2]) * ARCSEC_PER_DEGREE
    return str(detections["source"].iloc[int(now[np.argmin(away)])]) if away.min() <= _SAME_SKY else None
