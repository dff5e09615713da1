"""How people judge: what part of injected events each accepts, and where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
from sqlalchemy import text

from virtualobserver.db.bulk import read_frame
from virtualobserver.maths.efficiency import wilson_interval
from virtualobserver.typing import RecordDict

if TYPE_CHECKING:
    from virtualobserver.run.opened import Opened

__all__ = ["SNR_BORDERS", "accepted", "disagreements", "reviewers"]

SNR_BORDERS: Final = (0.0, 5.0, 7.0, 10.0, 20.0, np.inf)
"""Of the groups in S/N; where people hesitate lies between 5 and 10."""

# The last word of each person on each injected event. Which these are is told by the settings they were found with,
# so that verdicts count after their detections are gone.
_INJECTED: Final = """
    SELECT DISTINCT ON (coalesce(c.detection_id, -c.id), c."user") c."user", c.analysis, c.kind, c.label, d.snr
    FROM classification c LEFT JOIN detection d ON d.id = c.detection_id
    WHERE c.digest IN (SELECT digest FROM configuration
                       WHERE project_id = :project AND current AND step LIKE 'simulate:%')
    ORDER BY coalesce(c.detection_id, -c.id), c."user", c.created DESC, c.id DESC"""
_ACCEPTED: Final = """
    SELECT DISTINCT ON (d.injection_id, c."user") d.injection_id, c."user", c.label
    FROM detection d JOIN classification c ON c.detection_id = d.id JOIN task t ON t.id = d.task_id
    JOIN configuration k ON k.step = t.step AND k.digest = t.digest AND k.current
    WHERE d.injection_id IS NOT NULL AND k.project_id = :project AND t.step = :step
    ORDER BY d.injection_id, c."user", c.created DESC, c.id DESC"""
_DIFFERENT: Final = """
    WITH said AS (
      SELECT DISTINCT ON (c.detection_id, c."user") c.detection_id, c."user", c.label, c.note
      FROM classification c
      WHERE c.detection_id IN (SELECT id FROM detections_all WHERE project = :name AND current)
      ORDER BY c.detection_id, c."user", c.created DESC, c.id DESC),
    held AS (SELECT * FROM said WHERE label <> 'withdrawn')
    SELECT d.id AS detection, s.name AS source, d.analysis, d.kind, d.snr, h."user", h.label AS verdict, h.note
    FROM held h JOIN detection d ON d.id = h.detection_id JOIN source s ON s.id = d.source_id
    WHERE (SELECT count(DISTINCT o.label) FROM held o WHERE o.detection_id = h.detection_id) > 1
      AND (:blind OR d.injection_id IS NULL)
    ORDER BY abs(d.snr) DESC, d.id, h."user" """


def accepted(project: Opened, analysis: str) -> pd.DataFrame:
    """Return the last word of each person on detections of injected events of an analysis.

    Returns
    -------
    DataFrame
        One row per injection, its number as index, and a column per person: whether it was called a candidate, missing
        where nothing was said.
    """
    with project.session() as session:
        said = read_frame(session, _ACCEPTED, {"project": project.id, "step": f"simulate:{analysis}"})
    said = said[said["label"] != "withdrawn"]
    table = said.assign(accepted=(said["label"] == "candidate").astype(float))
    return table.pivot(index="injection_id", columns="user", values="accepted")


def reviewers(project: Opened, by: Sequence[str] = ("kind",)) -> pd.DataFrame:
    """Return what part of the injected events that people judged they accepted, one row for each person and group.

    Parameters
    ----------
    by
        Groups: ``analysis``, ``kind`` or ``snr``, of either sign and between `SNR_BORDERS`.

    Returns
    -------
    DataFrame
        ``user``, the groups, ``judged``, ``accepted`` (as candidates), ``flagged`` (to be looked at again),
        ``efficiency`` with ``low`` and ``high``, Wilson's interval of one standard deviation.
    """
    with project.session() as session:
        said = read_frame(session, _INJECTED, {"project": project.id})
    said = said[said["label"] != "withdrawn"]
    columns = ["user", *by]
    if "snr" in by:
        names = [f"{low:g} to {high:g}" for low, high in pairwise(SNR_BORDERS)]
        said = said.assign(
            snr=pd.cut(said["snr"].abs().astype(float), SNR_BORDERS, right=False, labels=names)
        )
    table = (
        said.assign(accepted=said["label"] == "candidate", flagged=said["label"] == "unsure")
        .groupby(columns, sort=True, observed=True)
        .agg(judged=("label", "size"), accepted=("accepted", "sum"), flagged=("flagged", "sum"))
        .reset_index()
    )
    ends = wilson_interval(table["accepted"], table["judged"])
    return table.assign(efficiency=table["accepted"] / table["judged"], low=ends.low, high=ends.high)


def disagreements(project: Opened, *, simulated: bool = False) -> list[RecordDict]:
    """Return the last word of each person on those current detections that people call different things.

    Parameters
    ----------
    simulated
        Also on injected events.
    """
    with project.session() as session:
        rows = session.execute(text(_DIFFERENT), {"name": project.name, "blind": simulated}).mappings()
        return [dict(row) for row in rows]
