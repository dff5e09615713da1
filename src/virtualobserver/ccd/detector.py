"""The numbers of a detector that a header holds, and the settings that frames and masters must share."""

from __future__ import annotations

import math
import re
from typing import Final

from virtualobserver.ccd.instrument import ReadAs
from virtualobserver.ccd.settings import CCDSettings
from virtualobserver.ccd.values import text
from virtualobserver.errors import BadKeyword
from virtualobserver.io.fits.keywords import number
from virtualobserver.maths.ccd.science import Detector
from virtualobserver.typing import Record, RecordDict

__all__ = ["binning_of", "check_colours", "detector_of", "number_of", "signature_of", "temperature_of"]

_RANGES: Final = {"read_noise": (0.0, 1e4), "exptime": (0.0, 1e6), "temperature": (-273.2, 200.0)}
_SETTINGS_NOT_GAINS: Final = ("n.i.n.a", "nina", "asiair", "sharpcap", "firecapture", "kstars", "indi")
"""Programs whose GAIN is the camera's setting and not electrons per count, whatever its value."""
_ORDINARY: Final = frozenset({"", "0", "normal", "default", "standard", "full", "none", "bottom-up"})
"""Values of signature keywords that say the same as a missing keyword."""
_COLOURS: Final = ("BAYERPAT", "BAYRPAT", "COLORTYP", "CFAPAT", "CFA")
"""Keywords of the pattern of colours, each asked: one may say none where another says it."""
_LEAST_GAIN: Final = 1e-4  # e-/ADU: far below that of any detector


def detector_of(header: Record, name: str, settings: CCDSettings) -> tuple[Detector, list[str], list[str]]:
    """Return the numbers of a detector, which keywords the configuration stands in for, and notes.

    Raises
    ------
    BadKeyword
        If gain or read noise is missing or impossible, and the configuration has no default for it.
    """
    defaults: list[str] = []
    gain, key = _gain(header, settings, name, defaults)
    noise = number_of("read_noise", header, settings, name, defaults)
    assert noise is not None
    notes = []
    if key not in {"GAIN", ""} and text(header, "GAIN") and number(header["GAIN"]) != gain:
        notes.append(
            f"GAIN = {text(header, 'GAIN')} is a setting of the camera; the gain is {key}, {gain:g} e-/ADU"
        )
    return (
        Detector(
            gain, noise, saturation=_saturation(header, settings),
            nonlinear=math.inf if settings.nonlinear is None else settings.nonlinear,
            linearity=tuple(settings.linearity),
        ),
        defaults, notes,
    )  # fmt: skip


def number_of(
    what: str,
    header: Record,
    settings: CCDSettings,
    name: str,
    defaults: list[str],
    *,
    required: bool = True,
) -> float | None:
    """Return a number in the unit of this package; what the configuration stands in for goes to `defaults`."""
    read: ReadAs = getattr(settings.keywords, what)
    low, high = _RANGES[what]
    wrong = ""
    for key in read.names:
        said = text(header, key)
        value = number(header.get(key))
        found = None if value is None else settings.keywords.to_ours(what, value)
        if found is not None and low <= found <= high:
            return found
        if said and not wrong:
            why = "not of type float" if value is None else "which is impossible"
            wrong = f"keyword {key} ({read.unit}) is {said if value is not None else repr(said)}, {why}"
    if read.default is not None:
        defaults.append(read.names[0])
        return settings.keywords.to_ours(what, read.default)
    if not required:
        return None
    msg = f"{name}: {wrong or f'keyword {read.names[0]} ({read.unit}) is missing'}"
    raise BadKeyword(msg)


def temperature_of(header: Record, settings: CCDSettings, name: str, facts: RecordDict) -> float | None:
    """Return the temperature; one that cannot be read is not known, which is no reason to lose a frame."""
    found = number_of("temperature", header, settings, name, facts["defaults"], required=False)
    said = text(header, settings.keywords.temperature.names)
    if found is None and said:
        facts["notes"].append(f"the temperature {said!r} is none, and is taken as not known")
    return found


def signature_of(header: Record, settings: CCDSettings) -> RecordDict:
    """Return the camera's settings that frames and masters must share, its gain, and how frames are turned."""
    try:
        gain, key = _gain(header, settings, "", [])
    except BadKeyword:
        gain, key = None, ""
    state = {}
    for what, keys in settings.signature.items():
        said = text(header, [one for one in keys if one != key])
        value = number(said)
        said = f"{value:g}" if value is not None else said
        if said.lower() not in _ORDINARY or (what == "gain" and said):
            state[what] = said
    flip = _turned(header) if settings.flipstat else None
    if flip is None and settings.flipstat:
        state["flip"] = text(header, "FLIPSTAT")
    return {"gain": gain if key else None, "state": state, "flip": list(flip or (False, False))}


_BINNING: Final = {
    "x": ("XBINNING", "CCDBINX", "CCDXBIN", "CCDBIN1", "XBIN", "BINX", "HBIN"),
    "y": ("YBINNING", "CCDBINY", "CCDYBIN", "CCDBIN2", "YBIN", "BINY", "VBIN"),
}
"""Keywords of the binning along each axis, in the order in which they are asked."""


def binning_of(header: Record) -> tuple[list[int], list[str]]:
    """Return binning along x and y, and what the header says of it that cannot be."""
    both = re.fullmatch(r"(\d+)(?:\D+(\d+))?", text(header, ("CCDSUM", "BINNING")))
    values = (
        [number(both[1]), number(both[2] or both[1])]
        if both
        else [number(text(header, keys)) for keys in _BINNING.values()]
    )
    notes = [
        f"binning along {axis} is {value:g} in the header: taken as 1"
        for axis, value in zip(_BINNING, values, strict=True)
        if value is not None and not value >= 1
    ]
    return [int(value) if value is not None and value >= 1 else 1 for value in values], notes


def check_colours(header: Record, settings: CCDSettings, name: str, kind: str) -> None:
    """Refuse a frame whose pixels lie under filters of different colours, as if they were stars and holes.

    Raises
    ------
    BadKeyword
        If one of `_COLOURS` says so, unless the setting `bayer` does not mind.
    """
    if kind not in {"science", "flat"} or settings.bayer != "refuse":
        return
    for key in _COLOURS:
        if not re.fullmatch("[RGBCMYW]{4}", (pattern := text(header, key)).upper()):
            continue
        msg = (
            f"{name}: {key} is {pattern}, a camera with a colour filter on every pixel; its frames have to be "
            "split into colours first, or set bayer: ignore to take them as they are"
        )
        raise BadKeyword(msg)


# --- inside -----------------------------------------------------------------------------------------------


def _gain(header: Record, settings: CCDSettings, name: str, defaults: list[str]) -> tuple[float, str]:
    """Return electrons per count, and the keyword that says so, empty for a default."""
    read = settings.keywords.gain
    wrong = ""
    for key in read.names:
        value = number(header.get(key))
        if value is None:
            wrong = wrong or (
                f"keyword {key} ({read.unit}) is {text(header, key)!r}, not of type float"
                if text(header, key)
                else ""
            )
            continue
        found = settings.keywords.to_ours("gain", value)
        if key == "GAIN" and _writes_settings(header):
            wrong = (
                wrong
                or f"{key} = {value:g} is a setting of the camera in files of {text(header, 'SWCREATE')}"
            )
        elif not _LEAST_GAIN < found <= settings.highest_gain:
            what = "a setting of the camera and no gain" if found > settings.highest_gain else "impossible"
            wrong = wrong or f"keyword {key} ({read.unit}) is {value}, which is {what}"
        else:
            return found, key
    if read.default is not None:
        defaults.append(read.names[0])
        return settings.keywords.to_ours("gain", read.default), ""
    missing = f"keyword {' and '.join(read.names)} ({read.unit}) is missing"
    msg = f"{name}: {wrong or missing}; set keywords.gain (keyword, unit, default)"
    raise BadKeyword(msg)


def _writes_settings(header: Record) -> bool:
    program = text(header, ("SWCREATE", "PROGRAM", "CREATOR", "SOFTWARE")).lower()
    return any(word in program for word in _SETTINGS_NOT_GAINS)


def _turned(header: Record) -> tuple[bool, bool] | None:
    """Return whether columns and rows run backwards, by FLIPSTAT and ROWORDER; None if that cannot be understood."""
    said = text(header, "FLIPSTAT").lower()
    words = set(re.findall(r"[a-z]+", said))
    known = {
        "flip",
        "flipped",
        "mirror",
        "mirrored",
        "horizontal",
        "vertical",
        "both",
        "none",
        "normal",
        "no",
        "and",
    }
    if not words <= known:
        return None
    across = bool(words & {"mirror", "mirrored", "horizontal", "both"})
    plain_flip = bool(words & {"flip", "flipped"}) and "horizontal" not in words
    down = bool(words & {"vertical", "both"}) or plain_flip
    if text(header, "ROWORDER").lower() == "top-down":
        down = not down
    return across, down


def _saturation(header: Record, settings: CCDSettings) -> float:
    """Return the counts from which a pixel is saturated, as set or as the header says; inf if it does not."""
    if settings.saturation is not None:
        return settings.saturation
    for key in settings.keywords.saturation:
        value = number(header.get(key))
        if value is not None and value > 0:
            return value
    return math.inf
