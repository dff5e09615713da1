"""What the header of a frame says: the facts that decide where it belongs."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import PurePath
from typing import Final

from virtualobserver.ccd.dates import DAYS, DateWithoutTime, begin_of, other_days, scale_of_times, to_utc
from virtualobserver.ccd.detector import (
    binning_of,
    check_colours,
    number_of,
    signature_of,
    temperature_of,
)
from virtualobserver.ccd.instrument import Instrument
from virtualobserver.ccd.kinds import WORDS, is_master, kind_of_text, type_of
from virtualobserver.ccd.rules import corrections_of, rules_for
from virtualobserver.ccd.settings import CCDSettings
from virtualobserver.ccd.values import mpc_code_of, pointing_of, site_of, text
from virtualobserver.conventions import SECONDS_PER_DAY
from virtualobserver.errors import BadKeyword
from virtualobserver.io.fits.keywords import number
from virtualobserver.maths.ccd.match import FrameKey
from virtualobserver.observatory import Site
from virtualobserver.typing import Record, RecordDict

__all__ = [
    "KINDS",
    "facts_of",
    "frame_key",
    "frame_name",
    "is_kind_folder",
    "kind_of",
    "night_of",
    "place_cards",
    "place_of",
    "stem_of",
    "unit_of",
]

KINDS: Final = ("bias", "dark", "flat")
_SUFFIXES: Final = frozenset({".fits", ".fit", ".fts", ".fz", ".gz"})
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_WORDS_ALONE: Final = re.compile(r"[A-Za-z _-]+")
_MIDDLES: Final = ("MJD-AVG", "MJD-MID")
_MIDDLE_DATES: Final = ("DATE-AVG", "DATE-MID")


def stem_of(name: str) -> str:
    """Return a file name without folder and without ``.fits``, ``.fit``, ``.fz`` and ``.gz``."""
    stem = PurePath(name.strip()).name
    while (suffix := PurePath(stem).suffix).lower() in _SUFFIXES:
        stem = stem[: -len(suffix)]
    return stem


def frame_name(name: str, night: str, settings: CCDSettings, part: str = "") -> str:
    """Return what a frame is called within its night: its path below the archive, less what is the night's.

    Folders are joined by ``~``, as a name must not hold a slash: ``M31/LIGHT/000.fits`` is ``M31~LIGHT~000``.
    """
    folder = PurePath(name).parent
    layout = settings.layouts.get(settings.layout)
    if layout is not None and (rest := layout.rest_of(folder)) is not None:
        folder = rest
    parts = [one for one in folder.parts if one not in {night, "/", "."}]
    parts += [stem_of(name), part] if part else [stem_of(name)]
    return "~".join(one.replace("%", "%25").replace("~", "%7E") for one in parts)


def kind_of(name: str, header: Record, instrument: Instrument) -> tuple[str, str]:
    """Return ``science``, ``bias``, ``dark`` or ``flat``, or, if nothing tells, an empty text and why.

    An instrument's own form of file names goes before keywords, these before words in the name and its folders.
    """
    words = {**WORDS, **instrument.words}
    found = re.search(instrument.name_type, name, re.ASCII) if instrument.name_type else None
    if found and (kind := kind_of_text(found["type"], words)):
        return kind, ""
    kind, strange = type_of(header, instrument.keywords.type, words)
    if kind:
        return kind, ""
    keys = ", ".join(instrument.keywords.type)
    if strange:
        return (
            "",
            f"{strange} names none of bias, dark, flat and science; say in the setting words what it is",
        )
    for one in reversed(PurePath(name).parts):
        if kind := kind_of_text(stem_of(one), words):
            return kind, ""
    return "", f"neither the name nor {keys} tells bias, dark, flat and science apart"


def is_kind_folder(name: str, settings: CCDSettings) -> bool:
    """Whether a folder is called after a kind of frame and nothing else, such as ``Lights`` or ``flat``."""
    return bool(_WORDS_ALONE.fullmatch(name) and kind_of_text(name, {**WORDS, **settings.words}))


def night_of(name: str, mjd: float | None, settings: CCDSettings, site: Site | None = None) -> str:
    """Return the date a frame belongs to.

    By the setting `night` that of the folder nearest to it, else that of the noon before at the site (at
    longitude 0 where the site is not known); a date in the name of its file is asked last, or first. With
    ``directory`` it is the name of the folder, of those that are not called after a kind of frame.
    """
    *folders, file = PurePath(name).parts
    if settings.night == "directory" and folders:
        return next((one for one in reversed(folders) if not is_kind_folder(one, settings)), folders[-1])
    named = _date(file)
    if settings.night == "name" and named:
        return named
    if settings.night != "noon":
        for part in reversed(folders):
            if found := _date(part):
                return found
    if mjd is not None and math.isfinite(mjd):
        local = mjd + (0.0 if site is None else site.lon / 360)
        return str(date(1858, 11, 17) + timedelta(days=math.floor(local - 0.5)))
    return named or "unknown"


def place_of(header: Record, settings: CCDSettings) -> tuple[Site | None, str]:
    """Return where the telescope stands and its code at the Minor Planet Center, as the header or settings say."""
    site = site_of(header, settings.keywords.site)
    if site is None and settings.site is not None:
        site = Site((settings.site.longitude + 180) % 360 - 180, settings.site.latitude, settings.site.height)
    return site, mpc_code_of(header, settings.keywords.mpc_code) or settings.mpc_code


def place_cards(facts: Record) -> RecordDict:
    """Return site and observatory's code of a frame as header cards, for images and tables."""
    cards: RecordDict = {}
    if site := facts.get("site"):
        cards = {"OBS_LON": site["longitude"], "OBS_LAT": site["latitude"], "OBS_ELEV": site["height"]}
    return cards | ({"MPCCODE": facts["mpc_code"]} if facts.get("mpc_code") else {})


def facts_of(
    name: str,
    header: Record,
    shape: tuple[int, int],
    settings: CCDSettings,
    *,
    part: str = "",
    hdu: int = 0,
    level: Callable[[], float] | None = None,
) -> RecordDict:
    """Return the JSON-like facts of a frame that are kept with it.

    Parameters
    ----------
    name
        Path of the file below the archive's folder.
    shape
        Rows and columns.
    part, hdu
        Which part of a file with several detectors or amplifiers it is, and the number of its HDU.
    level
        Returns the counts below which 97.5 % of its pixels are; asked of a dark only, and if `dark_level` is set.

    Returns
    -------
    dict
        ``kind, night, frame`` (its name in the night), ``origin, camera, part, hdu, shape, binning, exposure`` (s),
        ``temperature`` (deg C), ``band, mjd`` (middle, UTC), ``timesys`` (scale of the header's times), ``object, ra,
        dec, site, mpc_code, state`` (signature of the camera's settings), ``flip``, ``gain`` (e-/ADU or None),
        ``problem`` (why the frame cannot be used, or empty), ``notes``, ``defaults`` (keywords whose values
        come from the configuration), ``corrected`` (keywords that it puts right), ``finished`` (another's master).
    """
    right, lacking = corrections_of(settings.corrections, name, header)
    header = {**header, **right}
    kind, reason = _kind(name, header, settings, level)
    site, mpc_code = place_of(header, settings)
    facts: RecordDict = {
        "kind": kind, "shape": list(shape), "part": part, "hdu": hdu, "mpc_code": mpc_code,
    }  # fmt: skip
    facts |= _words(name, header, settings) | ({"corrected": right} if right else {})
    facts |= {"finished": True} if kind in KINDS and is_master(header, settings.keywords.type) else {}
    if site is not None:
        facts["site"] = {"longitude": site.lon, "latitude": site.lat, "height": site.height}
    try:
        if not kind:
            msg = f"{name}: {reason}"
            raise BadKeyword(msg)
        _check_rules(name, header, settings, lacking)
        facts["exposure"] = number_of(
            "exptime", header, settings, name, facts["defaults"], required=kind != "bias"
        )
        if kind == "science" and facts["exposure"] == 0:
            msg = f"{name}: the exposure time is 0 s, which is none of a science frame; `forced` says what it is"
            raise BadKeyword(msg)
        facts["temperature"] = temperature_of(header, settings, name, facts)
        facts |= signature_of(header, settings)
        facts["mjd"], facts["timesys"] = _middle(header, settings, name, facts)
        check_colours(header, settings, name, kind)
    except BadKeyword as error:
        facts["problem"] = str(error)
    facts["night"] = night_of(name, facts["mjd"], settings, site)
    facts["frame"] = frame_name(name, facts["night"], settings, part)
    return facts


def frame_key(facts: Record) -> FrameKey:
    """Return what has to agree between a frame and its masters."""
    rows, cols = facts.get("shape") or (0, 0)
    binning = facts.get("binning") or (1, 1)
    across, down = facts.get("flip") or (False, False)
    return FrameKey(
        facts["kind"] or "science",
        str(facts.get("camera") or ""),
        (int(rows), int(cols)),
        (int(binning[0]), int(binning[1])),
        float(facts.get("exposure") or 0.0),
        facts.get("temperature"),
        str(facts.get("band") or ""),
        facts.get("mjd"),
        part=str(facts.get("part") or ""),
        gain=facts.get("gain"),
        state=tuple(sorted((str(k), str(v)) for k, v in (facts.get("state") or {}).items())),
        flip=(bool(across), bool(down)),
    )


def unit_of(facts: Record, settings: CCDSettings) -> str:
    """Return ``night/frame`` of a science frame, the key of the master a calibration frame goes into."""
    kind, night = facts["kind"], facts["night"]
    if kind not in KINDS:
        return f"{night}/{facts['frame']}"
    if facts["problem"]:
        return f"{kind}/unusable/{night}/{facts['frame']}"
    rows, cols = facts["shape"]
    parts = [kind, f"{rows}x{cols}", "x".join(map(str, facts["binning"]))]
    if facts["part"]:
        parts.append(_plain(facts["part"]))
    if facts["state"]:
        parts.append("+".join(_plain(f"{name}-{value}") for name, value in sorted(facts["state"].items())))
    if any(facts["flip"]):
        parts.append(
            "flip-" + "".join(axis for axis, turned in zip("xy", facts["flip"], strict=True) if turned)
        )
    if kind == "dark":
        width, temperature = settings.temperature_bin, facts["temperature"]
        parts.append(f"{facts['exposure']:.4g}s")
        if temperature is not None:
            parts.append(f"{width * math.floor(temperature / width + 0.5) + 0.0:g}C")
    elif kind == "flat":
        parts.append(_plain(facts["band"]) or "unfiltered")
    return "/".join([*parts, night])


# --- inside -----------------------------------------------------------------------------------------------


def _kind(
    name: str, header: Record, settings: CCDSettings, level: Callable[[], float] | None
) -> tuple[str, str]:
    """Return the kind of a frame as the configuration, or else its header and its counts, tell."""
    words = {**WORDS, **settings.words}
    for rule in rules_for(settings.forced, name):
        kind = kind_of_text(rule.kind, words)
        return kind, "" if kind else f"the list `forced` calls it {rule.kind!r}, which is no kind of frame"
    kind, reason = kind_of(name, header, settings)
    if kind == "dark" and settings.dark_level is not None and level is not None:
        kind = "bias" if level() < settings.dark_level else kind
    return kind, reason


def _check_rules(name: str, header: Record, settings: CCDSettings, lacking: Sequence[str]) -> None:
    """Refuse a frame of another camera, or one whose header lacks a keyword that is to be corrected.

    Raises
    ------
    BadKeyword
        With the keyword.
    """
    if lacking:
        msg = f"{name}: keyword {', '.join(lacking)} of the list `corrections` is not in the header"
        raise BadKeyword(msg)
    for key, values in settings.only.items():
        said = text(header, key)
        if said and said.lower() not in {value.lower() for value in values}:
            msg = f"{name}: {key} is {said!r}, not {' or '.join(values)}: a frame of another camera"
            raise BadKeyword(msg)


def _date(name: str) -> str:
    """Return the date that a name begins with, empty if it is none: there is no 2024-13-45."""
    found = _DATE.match(name)
    if found is None:
        return ""
    try:
        return date.fromisoformat(found[0]).isoformat()
    except ValueError:
        return ""


def _plain(word: str) -> str:
    return re.sub(r"[^\w.+-]+", "-", word)


def _words(name: str, header: Record, settings: CCDSettings) -> RecordDict:
    """Return the facts that are there whatever is wrong with a frame; what has to be read properly is None."""
    keywords = settings.keywords
    ra, dec = pointing_of(header)
    band = text(header, keywords.filter)
    notes = (
        [] if band or not keywords.no_filter else [f"no filter in the header: taken as {keywords.no_filter}"]
    )
    binning, strange = binning_of(header)
    return {
        "origin": text(header, "ORIGFILE") or PurePath(name).name, "problem": "", "defaults": [],
        "notes": [*notes, *strange],
        "camera": settings.camera or text(header, keywords.camera) or "camera",
        "binning": binning, "object": text(header, keywords.object),
        "band": band or keywords.no_filter, "exposure": None, "temperature": None, "mjd": None,
        "timesys": "utc", "ra": ra, "dec": dec, "site": None,
    }  # fmt: skip


def _middle(header: Record, settings: CCDSettings, name: str, facts: RecordDict) -> tuple[float | None, str]:
    """Return the middle of the exposure, MJD (UTC), and its time scale; None for a calibration frame without."""
    keywords = settings.keywords
    science = facts["kind"] == "science"
    half = float(facts["exposure"] or 0.0) / 2 / SECONDS_PER_DAY
    try:
        scale = scale_of_times(header)
        for number_of, key in enumerate(keywords.date):
            last = number_of == len(keywords.date) - 1
            if not text(header, key) and not last:
                continue
            moment = begin_of(header, key)
            if moment is not None:
                said = (
                    other_days(header, key, moment, 2 * half * SECONDS_PER_DAY) if text(header, key) else []
                )
                facts["notes"].extend(said)
                return to_utc(moment, scale) + (0.0 if keywords.date_is == "middle" else half), scale
        for key in _MIDDLES:
            value = number(header.get(key))
            if value is not None and value % 1:
                return to_utc(value, scale), scale
        for key in _MIDDLE_DATES:
            moment = begin_of(header, key) if text(header, key) else None
            if moment is not None:
                return to_utc(moment, scale), scale
    except DateWithoutTime as error:
        if not science:
            return None, "utc"
        msg = f"{name}: {error}"
        raise BadKeyword(msg) from error
    except BadKeyword as error:
        msg = f"{name}: {error}"
        raise BadKeyword(msg) from error
    if science:
        days = ", ".join(key for key, _ in DAYS)
        msg = f"{name}: keyword {keywords.date[0]} is missing, and none of {days} is there"
        raise BadKeyword(msg)
    return None, scale
