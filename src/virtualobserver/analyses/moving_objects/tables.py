"""Detections as the table of results that KBMOD's users know."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["kbmod_table"]


def kbmod_table(detections: pd.DataFrame) -> pd.DataFrame:
    """Turn detections, one per epoch, into one row per mover.

    Returns
    -------
    pandas.DataFrame
        ``x, y`` (whole pixels at the first image), ``vx, vy`` (px/d), ``likelihood, flux, obs_count, uuid``,
        then ``global_ra, global_dec`` (deg, first epoch), ``mjd_first, mjd_last``, ``rate`` (arcsec/h), ``pa``
        (deg) and ``source``. The same mover has the same uuid in every export.
    """
    import numpy as np
    import pandas as pd

    rows = []
    for source, group in detections.groupby("source", sort=True):
        ordered = group.sort_values("peak_mjd")
        first = ordered.iloc[0]
        facts = _facts(first["parameters"])
        if "x0" not in facts:
            continue
        rows.append(
            {
                "x": int(np.floor(facts["x0"] + 0.5)),
                "y": int(np.floor(facts["y0"] + 0.5)),
                "vx": facts["vx"],
                "vy": facts["vy"],
                "likelihood": facts["likelihood"],
                "flux": facts["flux"],
                "obs_count": int(facts["n_obs"]),
                "uuid": uuid.uuid5(uuid.NAMESPACE_OID, str(source)).hex,
                "global_ra": first["ra"],
                "global_dec": first["dec"],
                "mjd_first": facts["first_mjd"],
                "mjd_last": facts["last_mjd"],
                "rate": facts["rate"],
                "pa": facts["pa"],
                "source": source,
            }
        )
    names = "x y vx vy likelihood flux obs_count uuid global_ra global_dec mjd_first mjd_last rate pa source"
    table = pd.DataFrame(rows, columns=names.split())
    return table.sort_values("likelihood", ascending=False, ignore_index=True)


def _facts(value: Any) -> dict[str, Any]:
    facts = json.loads(value) if isinstance(value, str) else value
    return facts if isinstance(facts, dict) else {}
