"""What a file's header says about an exposure, keyword by keyword: one that is missing spoils no other."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import IO, Final

import numpy as np
from astropy.io import fits as afits

from virtualobserver.columns import describe, out_of_range
from virtualobserver.conventions import MJD_ZERO_JD, SECONDS_PER_DAY
from virtualobserver.errors import BadKeyword, InvalidFile
from virtualobserver.io.fits.keywords import Keyword, read_keywords
from virtualobserver.maths.spectra import flags
from virtualobserver.maths.times import Site, barycentric_velocity, julian_year
from virtualobserver.observatories.harps.names import classify_name
from virtualobserver.observatories.harps.packed import open_plain
from virtualobserver.observatories.harps.scale import text_angle
from virtualobserver.typing import Record, RecordDict

__all__ = ["LA_SILLA", "Facts", "header_of_file", "parse_sexagesimal_number", "read_facts"]

LA_SILLA: Final = Site(lon=-70.7345, lat=-29.2584, height=2400.0)
"""The 3.6 m telescope, as its headers give it."""

_SITES: Final = MappingProxyType(
    {
        "HARPN": Site(lon=-17.8892, lat=28.754, height=2387.2),
        "HARPS-N": Site(lon=-17.8892, lat=28.754, height=2387.2),
        **dict.fromkeys(
            ("ESPRESSO", "UVES", "XSHOOTER", "CRIRES"), Site(lon=-70.4045, lat=-24.6272, height=2648.0)
        ),
    }
)
"""Where other spectrographs stand, for files that do not say it: the TNG on La Palma, the VLT on Paranal."""
_AGREE: Final = 60.0
"""Seconds by which MJD-OBS and DATE-OBS may differ: ESO writes the same moment in both. Chosen."""
_UNSET: Final = -90000.0
"""HARPS writes -99999 for what it does not know."""
_KEYS: Final = (
    "OBJECT", "RA", "DEC", "MJD-OBS", "MJD-END", "DATE-OBS", "DATE", "EXPTIME", "TEXPTIME", "SNR", "SPECSYS",
    "INSTRUME", "TELESCOP", "WAVELMIN", "WAVELMAX", "SPEC_RES", "PROG_ID", "PRODCATG", "TMID",
    "ESO DRS BERV", "ESO QC BERV", "ESO DRS BJD", "ESO DRS VERSION", "ESO DRS CCF RVC", "ESO DRS CCF RV",
    "ESO QC CCF RV", "ESO DRS SPE EXT SN5", "ESO DRS SPE EXT SN6", "ESO DPR TYPE", "ESO INS MODE",
    "ESO OBS TARG NAME", "ESO TEL TARG ALPHA", "ESO TEL TARG DELTA", "ESO TEL TARG RADVEL",
    "ESO TEL TARG PMA", "ESO TEL TARG PMD", "ESO TEL TARG PARALLAX", "ESO TEL TARG EPOCH",
    "ESO TEL AIRM START", "ESO TEL GEOLON", "ESO TEL GEOLAT", "ESO TEL GEOELEV", "P3STORE", "ESO PRO CATG",
    "AIRMASS", "RA-DEG", "DEC-DEG",
)  # fmt: skip
_TELESCOPES: Final = 4
"""Of the VLT, which ESPRESSO's headers number: ``ESO TEL1`` …"""


def _spellings(key: str) -> Iterator[str]:
    """Yield a keyword as ESO writes it, as the TNG (HARPS-N) does, and with the number of a telescope."""
    yield key
    if key.startswith("ESO "):
        yield f"TNG {key[4:]}"
    if key.startswith("ESO TEL "):
        yield from (f"ESO TEL{n} {key[8:]}" for n in range(1, _TELESCOPES + 1))


_WANTED: Final = frozenset(spelling for key in _KEYS for spelling in _spellings(key))


@dataclass
class Facts:
    """What is known of an exposure; NaN or empty where the file does not say.

    Times are MJD (UTC) at the middle, positions ICRS degrees at that time, motions mas/yr, velocities km/s;
    ``written`` is the date of the file in ISO 8601.
    ``problems`` pairs quality bits with reasons.
    """

    object: str = ""
    target: str = ""
    ra: float = math.nan
    dec: float = math.nan
    mjd: float = math.nan
    exptime: float = math.nan
    instrument: str = ""
    mode: str = ""
    dpr_type: str = ""
    kind: str = "object"
    berv: float = math.nan
    rv: float = math.nan
    rv_target: float = math.nan
    pmra: float = math.nan
    pmdec: float = math.nan
    parallax: float = math.nan
    snr_header: float = math.nan
    snr_calcium: float = math.nan
    airmass: float = math.nan
    written: str = ""
    site: Site = LA_SILLA
    problems: list[tuple[int, str]] = field(default_factory=list)

    @property
    def year(self) -> float:
        """Julian year of the exposure."""
        return julian_year(self.mjd)


class _Asker:
    """Reads keywords one by one and keeps what went wrong."""

    def __init__(self, header: Record, name: str) -> None:
        self._header, self._name = header, name
        self.problems: list[tuple[int, str]] = []

    def number(self, *keys: str, needed: bool = False, above: float = _UNSET) -> float:
        """Return the first of `keys` that is a finite number `above` what stands for unset; NaN if none is."""
        wrong: list[str] = []
        for key in keys:
            try:
                value = read_keywords(self._header, [Keyword(key, float, required=False)], self._name)[key]
            except BadKeyword as error:
                wrong.append(str(error).split("keyword ", 1)[-1])
                continue
            if value is not None and value > above:
                return float(value)
        self.problems += [(flags.QUALITY_KEYWORD, f"keyword {text}") for text in wrong]
        if needed and not wrong:
            self.problems.append((flags.QUALITY_KEYWORD, f"keyword {' or '.join(keys)} is missing"))
        return math.nan

    def fact(self, column: str, *keys: str, needed: bool = False) -> float:
        """Return the first of `keys` as a value of one of our columns; NaN, and told, if it cannot be one."""
        return self.possible(column, self.number(*keys, needed=needed), " or ".join(keys))

    def possible(self, column: str, value: float, where: str) -> float:
        """Return `value` if it can stand in one of our columns, else NaN, and say which keyword had it."""
        if not bool(out_of_range(column, value)):
            return value
        limits = describe(column)
        text = f"keyword {where} is {value:.10g}, outside of {limits.low:g} to {limits.high:g} {limits.unit}".rstrip()
        self.problems.append((flags.QUALITY_KEYWORD, text))
        return math.nan

    def angle(self, key: str, *, hours: bool) -> float:
        """Return a position in degrees, also one written as text; NaN if it is none."""
        value = self._header.get(key)
        if not isinstance(value, str):
            return self.number(key)
        angle = text_angle(value, hours=hours)
        if not math.isfinite(angle):
            self.problems.append((flags.QUALITY_KEYWORD, f"keyword {key} is {value!r}, which is no angle"))
        return angle

    def target_angle(self, which: str, *, hours: bool) -> float:
        """Return a position of the target list in degrees: HHMMSS.sss or ±DDMMSS.sss as one number, or as text."""
        key = f"ESO TEL TARG {which}"
        if isinstance(value := self._header.get(key), str) and ":" in value:
            return text_angle(value, hours=hours)
        # southern ones are written as large negative numbers; the one for "unset" has 99 minutes
        number = parse_sexagesimal_number(self.number(key, above=-math.inf))
        return 15.0 * number if hours else number

    def text(self, key: str, *, needed: bool = False) -> str:
        """Return a keyword as text, empty if it is not there."""
        value = self._header.get(key)
        if value is None or isinstance(value, afits.card.Undefined) or not str(value).strip():
            if needed:
                self.problems.append((flags.QUALITY_KEYWORD, f"keyword {key} is missing"))
            return ""
        return str(value).strip()

    def date(self) -> float:
        """Return MJD (UTC) of DATE-OBS, NaN if it is missing or impossible."""
        try:
            found = read_keywords(self._header, [Keyword("DATE-OBS", datetime)], self._name)["DATE-OBS"]
        except BadKeyword as error:
            self.problems.append((flags.QUALITY_KEYWORD, f"keyword {str(error).split('keyword ', 1)[-1]}"))
            return math.nan
        return found.timestamp() / SECONDS_PER_DAY + 40587.0  # type: ignore[no-any-return]


def read_facts(header: Record, name: str) -> Facts:
    """Read what a header says; nothing it lacks is an error, all of it is told in ``problems``."""
    ask = _Asker(_as_eso_spells(header), name)
    exptime = ask.fact("exptime", "EXPTIME", "TEXPTIME", needed=True)
    mjd = ask.possible("mjd", _middle(ask, exptime), "MJD-OBS, DATE-OBS, TMID or ESO DRS BJD")
    site = _site(ask)
    facts = Facts(
        object=ask.text("OBJECT", needed=True),
        target=ask.text("ESO OBS TARG NAME"),
        mjd=mjd,
        exptime=exptime,
        instrument=ask.text("INSTRUME", needed=True).upper() or "HARPS",
        mode=ask.text("ESO INS MODE"),
        dpr_type=ask.text("ESO DPR TYPE"),
        rv=ask.fact("rv", "ESO DRS CCF RVC", "ESO DRS CCF RV", "ESO QC CCF RV"),
        rv_target=ask.fact("rv", "ESO TEL TARG RADVEL"),
        parallax=ask.possible(
            "parallax", 1000.0 * ask.number("ESO TEL TARG PARALLAX"), "ESO TEL TARG PARALLAX"
        ),
        snr_header=ask.number("SNR"),
        snr_calcium=ask.number("ESO DRS SPE EXT SN5", "ESO DRS SPE EXT SN6"),
        airmass=ask.fact("airmass", "ESO TEL AIRM START", "AIRMASS"),
        written=ask.text("DATE"),
        site=site,
    )
    _place(facts, ask)
    facts.berv = ask.fact("berv", "ESO DRS BERV", "ESO QC BERV")
    if not math.isfinite(facts.berv) and math.isfinite(facts.mjd + facts.ra + facts.dec):
        facts.berv = float(barycentric_velocity(facts.mjd, facts.ra, facts.dec, site))
    facts.kind = classify_name(facts.object or facts.target, facts.dpr_type)
    if (category := ask.text("ESO PRO CATG")).upper().endswith("_B"):
        ask.problems.append((flags.QUALITY_NOT_TARGET, f"PRO CATG {category}: the other fibre"))
    if (by_type := classify_name("", facts.dpr_type)) != "object":
        # a name alone condemns nobody: it keeps an object out of target lists, not out of those who ask for it
        ask.problems.append((flags.QUALITY_NOT_TARGET, f"DPR TYPE {facts.dpr_type}: {by_type}"))
    elif re.search(r"(^|,)\s*(WAVE|THAR|TUN)", facts.dpr_type.upper().partition(",")[2]):
        ask.problems.append((flags.QUALITY_FIBRE_B, f"DPR TYPE {facts.dpr_type}: lamp in the other fibre"))
    facts.problems = ask.problems
    return facts


def _as_eso_spells(header: Record) -> RecordDict:
    """Return the keywords that are asked for, by the names they have in files of ESO."""
    found = {key: next((name for name in _spellings(key) if name in header), None) for key in _KEYS}
    return {key: header[name] for key, name in found.items() if name is not None}


def _middle(ask: _Asker, exptime: float) -> float:
    start, end = ask.number("MJD-OBS"), ask.number("MJD-END")
    if not math.isfinite(start):
        start = ask.date()
        if math.isfinite(start):
            ask.problems.append((flags.QUALITY_KEYWORD, "keyword MJD-OBS is missing; DATE-OBS taken"))
    elif said := ask.text("DATE-OBS"):
        date = ask.date()
        if (
            abs(date - start) * SECONDS_PER_DAY > _AGREE
        ):  # False for a date that is none, which is said already
            ask.problems.append(
                (
                    flags.QUALITY_KEYWORD,
                    f"MJD-OBS = {start:.10g} contradicts DATE-OBS = {said}; MJD-OBS taken",
                )
            )
    if math.isfinite(start) and math.isfinite(end) and end >= start:
        return (start + end) / 2
    if math.isfinite(start):
        return start + (exptime / 2 / SECONDS_PER_DAY if math.isfinite(exptime) else 0.0)
    found = ask.number("TMID", "ESO DRS BJD")
    return found - MJD_ZERO_JD if found > 2e6 else found


def _site(ask: _Asker) -> Site:
    lon, lat, height = (ask.number(key) for key in ("ESO TEL GEOLON", "ESO TEL GEOLAT", "ESO TEL GEOELEV"))
    return (
        Site(lon, lat, height if math.isfinite(height) else 2400.0)  # m, La Silla
        if math.isfinite(lon + lat)
        else _SITES.get(ask.text("INSTRUME").upper(), LA_SILLA)
    )


def _place(facts: Facts, ask: _Asker) -> None:
    """Set position and motion: RA and DEC of the file, else those of the target list."""
    facts.ra, facts.dec = ask.angle("RA", hours=True), ask.angle("DEC", hours=False)
    if not math.isfinite(facts.ra + facts.dec):
        facts.ra, facts.dec = ask.number("RA-DEG"), ask.number("DEC-DEG")
    if facts.ra == facts.dec == 0.0:  # what a telescope writes that does not know where it points
        facts.ra = facts.dec = math.nan
    east, north = ask.number("ESO TEL TARG PMA"), ask.number("ESO TEL TARG PMD")
    if math.isfinite(east + north) and (east, north) != (0.0, 0.0):
        facts.pmra = ask.possible("pmra", 1000.0 * east, "ESO TEL TARG PMA")
        facts.pmdec = ask.possible("pmdec", 1000.0 * north, "ESO TEL TARG PMD")
    if math.isfinite(facts.ra + facts.dec) and not (
        out_of_range("ra", facts.ra) | out_of_range("dec", facts.dec)
    ):
        return
    facts.ra, facts.dec = ask.target_angle("ALPHA", hours=True), ask.target_angle("DELTA", hours=False)
    what = "TARG ALPHA and DELTA taken" if math.isfinite(facts.ra + facts.dec) else "no position"
    ask.problems.append(
        (flags.QUALITY_KEYWORD, f"keywords RA and DEC are missing, 0 or outside of the sky; {what}")
    )


def parse_sexagesimal_number(number: float) -> float:
    """Return the value of a number written HHMMSS.sss or ±DDMMSS.sss, in its own unit; NaN for NaN."""
    if not math.isfinite(number):
        return math.nan
    whole, minutes = divmod(abs(number), 10000.0)
    minutes, seconds = divmod(minutes, 100.0)
    if minutes >= 60 or seconds >= 60:
        return math.nan
    return math.copysign(whole + minutes / 60 + seconds / 3600, number)


def header_of_file(path: Path, wanted: Iterable[str] = ()) -> RecordDict:
    """Return the keywords that matter of a file's first header, without parsing the other 3000 cards.

    Where nothing follows the first header, that of the next HDU adds to it: a file of ``fpack`` has all of its
    keywords there. Files packed by gzip are read as far as that.

    Raises
    ------
    InvalidFile
        If it does not begin as FITS does, or a header does not end.
    """
    names = _WANTED | set(wanted) | {"NAXIS"}
    found: RecordDict = {}
    with open_plain(path) as stream:
        first = stream.read(2880)
        if first[:9] != b"SIMPLE  =":
            reason = "empty, 0 bytes" if not first else "not a FITS file"
            msg = f"{path}, HDU 0: {reason}; fetch it again"
            raise InvalidFile(msg)
        _read_header(stream, first, names, found, f"{path}, HDU 0")
        if found.get("NAXIS") == 0 and (block := stream.read(2880)):
            _read_header(stream, block, names, found, f"{path}, HDU 1")
    return found


def _read_header(
    stream: IO[bytes], block: bytes, names: frozenset[str] | set[str], found: RecordDict, where: str
) -> None:
    while not _scan(block, names, found):
        block = stream.read(2880)
        if len(block) < 2880:
            msg = f"{where}: cut in the header; fetch it again"
            raise InvalidFile(msg)


def _scan(block: bytes, names: frozenset[str] | set[str], found: RecordDict) -> bool:
    """Add what a block of cards says, the first time it is said; return whether the header ends in it."""
    for start in range(0, 2880, 80):
        card = block[start : start + 80]
        if card[:8] == b"END     ":
            return True
        key = card[:8].rstrip().decode("ascii", "replace")
        if key == "HIERARCH":
            key = card[9:].partition(b"=")[0].strip().decode("ascii", "replace")
        if key in names and key not in found:
            try:
                value = afits.Card.fromstring(card).value
            except (afits.VerifyError, ValueError):
                continue
            found[key] = None if isinstance(value, afits.card.Undefined) else value
            if isinstance(found[key], np.generic):
                found[key] = found[key].item()
    return False
