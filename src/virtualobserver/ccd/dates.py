"""When a frame was taken, in all the forms that headers have for it, as MJD (UTC)."""

from __future__ import annotations

import math
import re
from datetime import date
from typing import Final

from virtualobserver.ccd.values import text
from virtualobserver.conventions import SECONDS_PER_DAY
from virtualobserver.errors import BadKeyword
from virtualobserver.io.fits.keywords import number
from virtualobserver.typing import Record

__all__ = ["DateWithoutTime", "begin_of", "other_days", "scale_of_times", "to_utc"]

TIMES: Final = (
    "TIME-OBS", "UTC-OBS", "UT-OBS", "UTCSTART", "UTSTART", "UT-START", "TIME-BEG", "UTSHUT", "UT", "UTC",
)  # fmt: skip
"""Keywords of the time, where that of the date holds no time."""
DAYS: Final = (("MJD-OBS", 0.0), ("MJD-BEG", 0.0), ("MJD", 0.0), ("JD-OBS", 2400000.5), ("JD", 2400000.5))
"""Keywords of the same moment as a day number, and what is taken off it to make it MJD."""
_SCALES: Final = {
    "UTC": "utc", "UT": "utc", "UT1": "utc", "GMT": "utc", "Z": "utc", "TAI": "tai", "IAT": "tai", "GPS": "gps",
    "TT": "tt", "TDT": "tt", "ET": "tt", "TDB": "tdb", "TCG": "tcg", "TCB": "tcb",
}  # fmt: skip
"""TIMESYS as the FITS standard has it; UT1 is within a second of UTC, and old files say UT for either."""
_GPS_BEHIND_TAI: Final = 19.0  # s, since 1980
_MJD_OF_ORDINAL_0: Final = date(1858, 11, 17).toordinal()
"""Of day 0 of the modified Julian date, by definition."""
_AGREE: Final = 120.0
"""Seconds: more than TT or TAI are from UTC, and than days with four decimals are rounded by. Chosen."""
_POSSIBLE: Final = (25000.0, 88069.0)
"""MJD of 1927 and 2100: a day number outside of these is no date of an exposure."""
_ISO: Final = re.compile(
    r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})(?:[T\s]+(\d{1,2}:\d{1,2}(?::\d{1,2}(?:\.\d*)?)?)\s*(Z|UTC?|[+-]\d{2}:?\d{2})?)?",
    re.IGNORECASE,
)
_OLD: Final = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{2}|\d{4})")
_TIME: Final = re.compile(
    r"(\d{1,2})[:\s](\d{1,2})(?:[:\s](\d{1,2}(?:\.\d*)?))?\s*(?:Z|UTC?)?", re.IGNORECASE
)
_CENTURY: Final = 70
"""The FITS standard has 19yy for dd/mm/yy; years before 1970, when there were no CCDs, are read as 20yy."""


class DateWithoutTime(BadKeyword):
    """The day is known, the time is not."""


def begin_of(header: Record, key: str) -> float | None:
    """Return the moment that a header's date means, MJD in its own time scale; None if it has none.

    The keyword of the date may hold date and time, or a date (``dd/mm/yy`` too) whose time is in one of `TIMES`;
    without either, a day number in one of `DAYS` is taken. A time of 00:00:00 stands for none if one of `TIMES` holds
    another.

    Raises
    ------
    DateWithoutTime
        If there is a date, and no time.
    BadKeyword
        If it is no possible date, or one of two.
    """
    said = text(header, key)
    day, seconds = _day_of(said, key) if said else (None, None)
    if (
        day is not None and not seconds
    ):  # midnight to the second stands for no time where another card has one
        seconds = _time_apart(header) or seconds
    if day is not None and seconds is not None:
        return day + seconds / SECONDS_PER_DAY
    for name, less in DAYS:
        value = number(header.get(name))
        # a whole day (MJD) or half day (JD) is a date without a time
        if value is not None and (value - less) % 1 and _POSSIBLE[0] < value - less < _POSSIBLE[1]:
            return value - less
    if day is not None:
        msg = f"keyword {key} is {said!r}, a date without a time, and none of {', '.join(TIMES)} holds one"
        raise DateWithoutTime(msg)
    return None


def other_days(header: Record, key: str, moment: float, exposure: float) -> list[str]:
    """Say which of `DAYS` contradict a date, as notes.

    Parameters
    ----------
    key, moment
        The keyword of the date, and the MJD that it means.
    exposure
        Exposure time, s: a day number may be of the begin, the middle or the end.
    """
    notes = []
    for name, less in DAYS:
        value = number(header.get(name))
        if name == key or value is None or not (value - less) % 1:
            continue
        apart = abs(value - less - moment) * SECONDS_PER_DAY
        if apart > exposure + _AGREE:
            notes.append(
                f"{name} = {value:.10g} contradicts {key} = {text(header, key)}, which is taken (MJD {moment:.5f})"
            )
    return notes


def scale_of_times(header: Record) -> str:
    """Return the time scale of a header (TIMESYS), ``utc`` if it says none.

    Raises
    ------
    BadKeyword
        For one that does not turn into UTC, such as LOCAL.
    """
    said = text(header, "TIMESYS")
    word = said.partition("(")[0].strip().upper()
    if word and word not in _SCALES:
        msg = f"keyword TIMESYS is {said!r}; times in it cannot be turned into UTC"
        raise BadKeyword(msg)
    return _SCALES[word] if word else "utc"


def to_utc(mjd: float, scale: str) -> float:
    """Turn a moment of another time scale into MJD (UTC)."""
    if scale == "utc":
        return mjd
    from astropy.time import Time

    day = math.floor(mjd)
    part = mjd - day
    if scale == "gps":
        part, scale = part + _GPS_BEHIND_TAI / SECONDS_PER_DAY, "tai"
    return float(Time(day, part, format="mjd", scale=scale).utc.mjd)


# --- inside -----------------------------------------------------------------------------------------------


def _time_apart(header: Record) -> float | None:
    """Return the seconds after midnight in the first of `TIMES` that holds a time of day, else None."""
    for name in TIMES:
        if (found := _TIME.fullmatch(text(header, name))) is not None:
            return _seconds(f"{found[1]}:{found[2]}:{found[3] or 0}", name)
    return None


def _day_of(said: str, key: str) -> tuple[float, float | None]:
    """Return a text's day (MJD) and seconds after its midnight, None if it has no time."""
    if found := _ISO.fullmatch(said):
        day = _mjd(int(found[1]), int(found[2]), int(found[3]), said, key)
        if found[4] is None:
            return day, None
        seconds = _seconds(found[4], key)
        zone = re.fullmatch(r"([+-])(\d{2}):?(\d{2})", found[5] or "")
        if zone:
            away = (int(zone[2]) * 60 + int(zone[3])) * 60
            seconds -= away if zone[1] == "+" else -away
        return day, seconds
    if found := _OLD.fullmatch(said):
        first, second, year = int(found[1]), int(found[2]), int(found[3])
        if len(found[3]) == 2:
            return _mjd(year + (1900 if year >= _CENTURY else 2000), second, first, said, key), None
        if first <= 12 and second <= 12 and first != second:
            msg = f"keyword {key} is {said!r}, which may be either of two days; write {found[3]}-MM-DD"
            raise BadKeyword(msg)
        return _mjd(year, min(first, second), max(first, second), said, key), None
    value = number(said)
    if value is not None and _POSSIBLE[0] < value < _POSSIBLE[1]:
        return float(math.floor(value)), (value % 1) * SECONDS_PER_DAY or None
    msg = f"keyword {key} is {said!r}, not a possible date"
    raise BadKeyword(msg)


def _mjd(year: int, month: int, day: int, said: str, key: str) -> float:
    try:
        found = float(date(year, month, day).toordinal() - _MJD_OF_ORDINAL_0)
    except ValueError as error:
        msg = f"keyword {key} is {said!r}, not a possible date ({error})"
        raise BadKeyword(msg) from error
    if not _POSSIBLE[0] < found < _POSSIBLE[1]:
        msg = f"keyword {key} is {said!r}, not a possible date of an exposure"
        raise BadKeyword(msg)
    return found


def _seconds(clock: str, key: str) -> float:
    hours, minutes, *rest = (float(part) for part in clock.split(":"))
    seconds = rest[0] if rest else 0.0
    if hours >= 24 or minutes >= 60 or seconds >= 61:
        msg = f"keyword {key} holds {clock!r}, not a possible time"
        raise BadKeyword(msg)
    return (hours * 60 + minutes) * 60 + seconds
