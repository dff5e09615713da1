"""How often comets pass: of each star, of each spectral class, of the whole sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from virtualobserver.analyses.exocomets.matched.rates import comet_rates
from virtualobserver.data.product import Target
from virtualobserver.maths.astrometry.positions import absolute_magnitude
from virtualobserver.maths.efficiency import wilson_interval
from virtualobserver.typing import Record, RecordDict

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "colour_and_magnitude", "population_table", "spectral_class"]

COLUMNS: Final = (
    "group", "name", "n_stars", "n_nights", "n_found", "n_injected", "completeness", "completeness_low",
    "completeness_high", "rate", "rate_low", "rate_high", "rate_limit",
)  # fmt: skip
"""Columns of the table; rates are comets per night of observation."""

_LETTERS: Final = "OBAFGKM"
_COLOURS: Final = (("B", -0.037), ("A", 0.377), ("F", 0.784), ("G", 0.983), ("K", 1.84))
"""Gaia BP - RP at which the next class begins on the main sequence: of A0V, F0V, G0V, K0V and M0V in the table of
Pecaut & Mamajek (2013, ApJS 208, 9) as E. Mamajek continues it (EEM_dwarf_UBVIJHK_colors_Teff.txt, 2024.05.15)."""
_LEAST: Final = 5
"""With fewer injections than this the completeness of a star is that which its noise allows."""


def spectral_class(known: Record) -> str:
    """Return the letter of the spectral class, from the type if one is known, else from the colour; or ``unknown``.

    Parameters
    ----------
    known
        ``sptype`` or ``spectral_type`` (text) and ``bp_rp`` (mag), each or none of them.
    """
    for name in ("sptype", "spectral_type"):
        text = str(known.get(name) or "").strip().upper().removeprefix("SD").removeprefix("D")
        if text[:1] and text[0] in _LETTERS:
            return text[0]
    value = known.get("bp_rp")
    if value is None or not np.isfinite(float(value)):
        return "unknown"
    return next((name for name, end in _COLOURS if float(value) < end), "M")


def colour_and_magnitude(target: Target, gaia: Record) -> tuple[float, float] | None:
    """Return BP - RP and M_G of a star, None if they are not known.

    What the catalogue gives comes first, then the star that the survey found in Gaia.
    """
    colour, parallax = target.extra.get("bp_rp", gaia.get("bp_rp")), target.parallax or gaia.get("parallax")
    mag = target.extra.get("phot_g_mean_mag", gaia.get("mag") or target.mag)
    if colour is None or mag is None or parallax is None or not parallax > 0:
        return None
    place = float(colour), absolute_magnitude(float(mag), float(parallax))
    return place if np.isfinite(place).all() else None


def population_table(properties: pd.DataFrame, outcomes: pd.DataFrame) -> pd.DataFrame:
    """Return completeness and rate of each star, each spectral class and all stars together.

    The completeness of a star is the share of its injections that was found, and so is that of comets as
    they were drawn; with fewer than five injections it is what the noise allows for a typical comet
    (`n_injected` then is 0, and the interval missing). Binaries and stars without searched nights are left out:
    a search of them says nothing about comets.

    Parameters
    ----------
    properties
        One row per star: ``source, class, n_nights, n_candidates, completeness_typical, spectral_class``.
    outcomes
        One row per injection: ``source, found``.
    """
    import pandas as pd

    stars = _stars(properties, outcomes)
    rows = []
    for group in ("star", "class", "all"):
        by = {"star": "name", "class": "spectral_class", "all": None}[group]
        rates = comet_rates(stars, by=by)
        for name in rates:
            if (name == "all") != (group == "all"):
                continue
            members = [one for one in stars if by is None or one[by] == name]
            rows.append(_row(group, name, members, rates[name]))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _stars(properties: pd.DataFrame, outcomes: pd.DataFrame) -> list[RecordDict]:
    """Return the stars that count for rates.

    No binaries, whose lines hide comets; with too few injections the typical completeness.
    """
    counted: dict[str, tuple[int, int]] = {}
    if len(outcomes):
        groups = outcomes.assign(found=outcomes["found"].astype(bool)).groupby("source")["found"]
        counted = {str(name): (int(found.sum()), int(found.size)) for name, found in groups}
    stars = []
    for row in properties.to_dict("records"):
        nights = row.get("n_nights")
        if row.get("class") == "binary" or nights is None or not nights > 0:
            continue
        found, injected = counted.get(str(row["source"]), (0, 0))
        enough = injected >= _LEAST
        typical = row.get("completeness_typical")
        share = found / injected if enough else float(typical if typical is not None else 0.0)
        stars.append(
            {
                "name": str(row["source"]),
                "spectral_class": str(row.get("spectral_class") or "unknown"),
                "n_nights": int(nights),
                "n_found": int(row.get("n_candidates") or 0),
                "completeness": share if np.isfinite(share) else 0.0,
                "recovered": found if enough else 0,
                "n_injected": injected if enough else 0,
            }
        )
    return stars


def _row(group: str, name: str, members: list[RecordDict], rate: Any) -> RecordDict:
    """Return one line of the table; nights weigh the completeness, since they are what comets are counted in."""
    nights = np.array([one["n_nights"] for one in members], dtype=np.float64)
    share = np.array([one["completeness"] for one in members])
    injected = sum(one["n_injected"] for one in members)
    interval = wilson_interval([sum(one["recovered"] for one in members)], [injected]) if injected else None
    return {
        "group": group,
        "name": name,
        "n_stars": len(members),
        "n_nights": int(nights.sum()),
        "n_found": sum(one["n_found"] for one in members),
        "n_injected": injected,
        "completeness": float((share * nights).sum() / nights.sum()),
        "completeness_low": float(interval.low[0]) if interval else None,
        "completeness_high": float(interval.high[0]) if interval else None,
        "rate": rate.rate,
        "rate_low": rate.low,
        "rate_high": rate.high,
        "rate_limit": rate.upper_limit,
    }
