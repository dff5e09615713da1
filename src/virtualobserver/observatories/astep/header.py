"""What the header of a frame says: the facts that decide where it belongs, and the numbers of the detector."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from pathlib import PurePath
from typing import Any, Final

from virtualobserver.conventions import SECONDS_PER_DAY
from virtualobserver.errors import BadKeyword
from virtualobserver.io.fits.keywords import MISSING, Keyword, read_keywords
from virtualobserver.maths.ccd.match import FrameKey
from virtualobserver.maths.ccd.science import Detector
from virtualobserver.observatories.astep.settings import ASTEPSettings, KeywordSettings

__all__ = ["KINDS", "detector_of", "facts_of", "frame_key", "kind_of", "night_of", "stem_of", "unit_of"]

KINDS: Final = ("bias", "dark", "flat")
_MJD_UNIX: Final = 40587.0
_NAME: Final = re.compile(
    r"(?P<date>\d{4}-\d{2}-\d{2})_(?P<time>\d{2}\.\d{2}\.\d{2})_(?P<type>[A-Za-z]+)", re.ASCII
)
_TYPES: Final = (
    ("science", ("science", "light", "object", "target")),
    ("flat", ("flat",)),
    ("dark", ("dark",)),
    ("bias", ("bias", "zero", "offset")),
)
_RANGES: Final = {
    "gain": (1e-4, 1e3),
    "read_noise": (0.0, 1e4),
    "exptime": (0.0, 1e6),
    "temperature": (-273.2, 200.0),
}


def stem_of(name: str) -> str:
    """Return a file name without folder and without ``.fits``, ``.fit``, ``.fz`` and ``.gz``."""
    stem = PurePath(name.strip()).name
    while (suffix := PurePath(stem).suffix).lower() in {".fits", ".fit", ".fts", ".fz", ".gz"}:
        stem = stem[: -len(suffix)]
    return stem


def kind_of(name: str, header: Mapping[str, Any], keywords: KeywordSettings) -> str:
    """Return ``science``, ``bias``, ``dark``, ``flat`` or, if neither name nor header says, an empty text."""
    found = _NAME.search(name)
    for text in (found["type"] if found else "", str(header.get(keywords.type) or "")):
        for kind, words in _TYPES:
            if any(word in text.lower() for word in words):
                return kind
    return ""


def night_of(name: str, mjd: float | None) -> str:
    """Return the date a frame belongs to: that of its folder or name, else that of the noon (UTC) before."""
    for part in reversed(PurePath(name).parts):
        if found := re.match(r"\d{4}-\d{2}-\d{2}", part):
            return found[0]
    if mjd is None or not math.isfinite(mjd):
        return "unknown"
    return str(date(1858, 11, 17) + timedelta(days=math.floor(mjd - 0.5)))


def facts_of(
    name: str, header: Mapping[str, Any], shape: tuple[int, int], settings: ASTEPSettings
) -> dict[str, Any]:
    """Return the JSON-like facts of a frame that are kept with it.

    Parameters
    ----------
    name
        Path of the file below the archive's folder.
    shape
        Rows and columns.

    Returns
    -------
    dict
        ``kind, night, stem, origin, camera, shape, binning, exposure`` (s), ``temperature`` (deg C), ``band, mjd``
        (middle, UTC), ``object``, ``problem`` (why the frame cannot be used, or empty) and ``defaults``
        (keywords whose values come from the configuration).
    """
    keywords = settings.keywords
    facts: dict[str, Any] = {
        "kind": kind_of(name, header, keywords), "stem": stem_of(name), "shape": list(shape),
        "origin": str(header.get("ORIGFILE") or PurePath(name).name), "problem": "", "defaults": [],
        "camera": settings.camera or _text(header, keywords.camera) or "camera",
        "binning": _binning(header), "object": _text(header, keywords.object),
        "band": _text(header, keywords.filter), "exposure": None, "temperature": None, "mjd": None,
        "ra": _degrees(header, ("CRVAL1", "RA")), "dec": _degrees(header, ("CRVAL2", "DEC")),
    }  # fmt: skip
    try:
        if not facts["kind"]:
            msg = f"{name}: neither the name nor {keywords.type} tells bias, dark, flat and science apart"
            raise BadKeyword(msg)
        needed = facts["kind"] != "bias"
        facts["exposure"] = _number("exptime", header, keywords, name, facts["defaults"], required=needed)
        facts["temperature"] = _number(
            "temperature", header, keywords, name, facts["defaults"], required=False
        )
        facts["mjd"] = _middle(header, keywords, name, facts)
    except BadKeyword as error:
        facts["problem"] = str(error)
    facts["night"] = night_of(name, facts["mjd"])
    return facts


def detector_of(header: Mapping[str, Any], name: str, settings: ASTEPSettings) -> tuple[Detector, list[str]]:
    """Return gain and read noise as the header says, and which keywords the configuration stands in for.

    Raises
    ------
    BadKeyword
        If one is missing or impossible, and the configuration has no default for it.
    """
    defaults: list[str] = []
    gain = _number("gain", header, settings.keywords, name, defaults)
    noise = _number("read_noise", header, settings.keywords, name, defaults)
    assert gain is not None
    assert noise is not None
    return (
        Detector(
            gain, noise, saturation=settings.saturation,
            nonlinear=math.inf if settings.nonlinear is None else settings.nonlinear,
            linearity=tuple(settings.linearity),
        ),
        defaults,
    )  # fmt: skip


def frame_key(facts: Mapping[str, Any]) -> FrameKey:
    """Return what has to agree between a frame and its masters."""
    rows, cols = facts.get("shape") or (0, 0)
    binning = facts.get("binning") or (1, 1)
    return FrameKey(
        facts["kind"] or "science",
        str(facts.get("camera") or ""),
        (int(rows), int(cols)),
        (int(binning[0]), int(binning[1])),
        float(facts.get("exposure") or 0.0),
        facts.get("temperature"),
        str(facts.get("band") or ""),
        facts.get("mjd"),
    )


def unit_of(facts: Mapping[str, Any], settings: ASTEPSettings) -> str:
    """Return ``night/frame`` of a science frame, the key of the master a calibration frame goes into."""
    kind, night = facts["kind"], facts["night"]
    if kind not in KINDS:
        return f"{night}/{facts['stem']}"
    if facts["problem"]:
        return f"{kind}/unusable/{night}/{facts['stem']}"
    rows, cols = facts["shape"]
    parts = [kind, f"{rows}x{cols}", "x".join(map(str, facts["binning"]))]
    if kind == "dark":
        width, temperature = settings.temperature_bin, facts["temperature"]
        parts.append(f"{facts['exposure']:.4g}s")
        if temperature is not None:
            parts.append(f"{width * math.floor(temperature / width + 0.5) + 0.0:g}C")
    elif kind == "flat":
        parts.append(re.sub(r"[^\w.+-]+", "-", facts["band"]) or "unfiltered")
    return "/".join([*parts, night])


# --- inside -----------------------------------------------------------------------------------------------


def _text(header: Mapping[str, Any], key: str) -> str:
    value = header.get(key)
    return "" if value is None or isinstance(value, list) else str(value).strip()


def _number(
    what: str,
    header: Mapping[str, Any],
    keywords: KeywordSettings,
    name: str,
    defaults: list[str],
    *,
    required: bool = True,
) -> float | None:
    """Return a number in the unit of this package; what the configuration stands in for goes to `defaults`."""
    read = getattr(keywords, what)
    declared = Keyword(
        read.keyword, float, unit=read.unit, default=MISSING if read.default is None else read.default,
        required=required,
    )  # fmt: skip
    low, high = _RANGES[what]
    raw = header.get(read.keyword)
    value = read_keywords(header, [declared], name)[read.keyword]
    if value is None:
        return None
    found = float(value) * keywords.factor(what) + keywords.shift(what)
    if not low <= found <= high:
        if read.default is None:
            msg = f"{name}: keyword {read.keyword} ({read.unit}) is {value}, which is impossible"
            raise BadKeyword(msg)
        value, found = read.default, read.default * keywords.factor(what) + keywords.shift(what)
    if read.default is not None and (not isinstance(raw, int | float) or float(raw) != float(value)):
        defaults.append(read.keyword)
    return found


def _middle(
    header: Mapping[str, Any], keywords: KeywordSettings, name: str, facts: Mapping[str, Any]
) -> float | None:
    """Return the middle of the exposure, MJD (UTC); None for a calibration frame without a date."""
    declared = Keyword(keywords.date, datetime, required=facts["kind"] == "science")
    moment = read_keywords(header, [declared], name)[keywords.date]
    if moment is None:
        return None
    if len(str(header[keywords.date]).strip()) <= len("2012-06-17"):
        if facts["kind"] == "science":
            msg = f"{name}: keyword {keywords.date} is {header[keywords.date]!r}, a date without a time"
            raise BadKeyword(msg)
        return None
    mjd = _MJD_UNIX + float(moment.timestamp()) / SECONDS_PER_DAY
    if keywords.date_is == "middle":
        return mjd
    return mjd + float(facts["exposure"] or 0.0) / 2 / SECONDS_PER_DAY


def _binning(header: Mapping[str, Any]) -> list[int]:
    """Return binning along x and y."""
    text = re.fullmatch(r"(\d+)\D+(\d+)", _text(header, "CCDSUM") or _text(header, "BINNING"))
    if text:
        return [int(text[1]), int(text[2])]
    values = [header.get("XBINNING"), header.get("YBINNING")]
    return [int(v) if isinstance(v, int | float) and math.isfinite(v) and v >= 1 else 1 for v in values]


def _degrees(header: Mapping[str, Any], keys: tuple[str, ...]) -> float | None:
    for key in keys:
        value = header.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    return None
