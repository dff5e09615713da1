"""What bodies that nobody knows are called, once people have judged them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from virtualobserver.conventions import ARCSEC_PER_DEGREE, WITHDRAWN
from virtualobserver.maths.astrometry.sphere import separation
from virtualobserver.typing import Record

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
    for row in verdicts.itertuples(index=False):
        source = sources.get(row.detection)
        if source is None:
            now = detections[
                (detections["analysis"] == row.analysis)
                & ((detections["peak_mjd"] - row.start_mjd).abs() < _SAME_TIME)
                & detections["ra"].notna()
            ]
            if not len(now) or not np.isfinite(np.array([row.ra, row.dec], np.float64)).all():
                continue
            away = separation(now["ra"].to_numpy(float), now["dec"].to_numpy(float), row.ra, row.dec)
            if away.min() * ARCSEC_PER_DEGREE > _SAME_SKY:
                continue
            source = str(now["source"].iloc[int(np.argmin(away))])
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
        Parameters of one of its detections: ``label, number, class``.
    verdict
        The last one on it, None if nobody judged.
    """
    word = _WORDS.get(verdict or "")
    if facts.get("class") == "known" or word is None:
        return str(facts.get("label") or "")
    return f"{word}_{facts['number']}"
