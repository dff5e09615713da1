"""ADES 2022 as fields parted by bars (PSV): what the Minor Planet Center wants, with errors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime, time, timedelta
from typing import Final

from virtualobserver.io.mpc.records import MJD_ZERO, Observation

__all__ = ["psv_lines"]

Header = Sequence[tuple[str, str | Sequence[tuple[str, str]]]]

_COLUMNS: Final = (
    "permID", "provID", "trkSub", "mode", "stn", "obsTime", "ra", "dec", "rmsRA", "rmsDec", "astCat", "mag", "rmsMag",
    "band", "photCat",
)  # fmt: skip


def psv_lines(
    seen: Sequence[Observation], header: Header, *, mode: str, code: str, ast_cat: str, phot_cat: str
) -> Iterator[str]:
    """Yield the lines of a file.

    Parameters
    ----------
    header
        Words of the header in order, with a text, or with pairs of further words and texts; what is empty is left out.
    mode
        How it was measured: ``CCD``, ``CMO``, ``TDI`` ...
    code
        Of the observatory.
    ast_cat, phot_cat
        Catalogues of the places and of the magnitudes.
    """
    yield "# version=2022"
    for word, told in header:
        inner = [] if isinstance(told, str) else [(key, text) for key, text in told if text]
        if inner or (isinstance(told, str) and told):
            yield f"# {word} {told}" if isinstance(told, str) else f"# {word}"
            yield from (f"! {key} {text}" for key, text in inner)
    rows = [_fields(one) | {"mode": mode, "stn": code, "astCat": ast_cat} for one in seen]
    for row in rows:
        if row["mag"]:
            row["photCat"] = phot_cat
    # a column of which no row has anything is not written
    used = [name for name in _COLUMNS if any(row.get(name) for row in rows)]
    width = {name: max(len(name), *(len(row.get(name, "")) for row in rows)) for name in used}
    for row in [dict(zip(used, used, strict=True)), *rows]:
        yield "|".join(f"{row.get(name, ''):<{width[name]}}" for name in used)


def _fields(seen: Observation) -> dict[str, str]:
    known = math.isfinite(seen.mag)
    return {
        "permID": seen.designation.permanent,
        "provID": seen.designation.provisional,
        "trkSub": seen.temporary,
        "obsTime": _time(seen.mjd),
        "ra": _angle(seen.ra),
        "dec": f"{seen.dec:.7f}",
        "rmsRA": _error(seen.ra_error, 3, 7),
        "rmsDec": _error(seen.dec_error, 3, 7),
        "mag": f"{seen.mag:.3f}" if known else "",
        "rmsMag": _error(seen.mag_error, 3, 6) if known else "",
        "band": seen.band if known else "",
    }


def _time(mjd: float) -> str:
    """Return a time to the millisecond; it is rounded before it is parted, so no second is 60."""
    start = datetime.combine(MJD_ZERO, time())
    return f"{(start + timedelta(milliseconds=round(mjd * 86_400_000))).isoformat('T', 'milliseconds')}Z"


def _angle(ra: float) -> str:
    return f"{round(ra * 10**7) % (360 * 10**7) / 10**7:.7f}"


def _error(value: float, digits: int, width: int) -> str:
    """Return a positive number of at most `width` characters; nothing if it is not known or has no room."""
    if not math.isfinite(value) or value <= 0 or value >= 10.0 ** (width - 1):
        return ""
    least = max(value, 10.0**-digits)  # zero would say that it is exact, and is not allowed
    return f"{least:.{digits}f}"[:width].rstrip(".")
