"""What the names in HARPS headers say: stars, components of pairs, lamps, the sky, what moves."""

from __future__ import annotations

import re
from collections.abc import Sequence

from virtualobserver.maths.astrometry.positions import normal_name

__all__ = ["classify_name", "component_of", "number_of"]

_MOVING = re.compile(
    r"moon|sun(sky)?\w*|solarspec\w*|daysky|asteroid\w*|comet|ceres|vesta|pallas|juno|hygiea|iris|eunomia|io|europa|"
    r"ganymede|callisto|titan|enceladus|mercury|venus|mars|jupiter|saturn|uranus|neptune|pluto|psyche"
)
_ASTEROID = re.compile(r"\d{1,6}[a-z]{4,}")
_SKY = re.compile(r"sky|none|test|dark|blank|noname|unknown|object")
_LAMP = re.compile(r"lamp|wave|flat|bias|thar|tun|fabryperot|fp|lfc")
_TYPES = {
    **dict.fromkeys(("WAVE", "LAMP", "FLAT", "BIAS", "DARK", "CONTAM", "TUN"), "lamp"),
    **dict.fromkeys(("SUN", "MOON", "ASTEROID"), "moving"),
    "SKY": "sky",
}
_COMPONENT = re.compile(r"^(?P<stem>.*[0-9a-z])(?P<part>[ab])$")


def component_of(name: str, others: Sequence[str]) -> str:
    """Return ``a`` or ``b`` if `name` is one component of a close pair, both of which are among `others`.

    α Cen A and B stand 4 to 20 arcsec apart: their names tell them apart where positions do not.
    """
    known = {normal_name(other) for other in others}
    found = _COMPONENT.match(normal_name(name))
    if found is None:
        return ""
    stem, part = found["stem"], found["part"]
    return part if stem + ("b" if part == "a" else "a") in known else ""


_NUMBERED = re.compile(
    r"(?:[a-f]_)?(hd|hip|hr|gj|gliese|gl|sao|toi|tic|wasp|k2|kelt|hats|ltt)0*(\d+)(?![\d.])"
)


def number_of(name: str) -> tuple[str, int] | None:
    """Return catalogue and number of a name such as HD 39060, None if it has none; Gl and GJ are one catalogue."""
    found = _NUMBERED.match(normal_name(name))
    if found is None:
        return None
    catalogue = "gj" if found[1] in {"gl", "gliese"} else found[1]
    return catalogue, int(found[2])


def classify_name(name: str, dpr_type: str = "") -> str:
    """Return ``object``, ``moving``, ``sky`` or ``lamp`` for a target's name and the ESO DPR TYPE of its file."""
    first = dpr_type.upper().split(",")[0].strip()
    if first in _TYPES:
        return _TYPES[first]
    flat = re.sub(r"[^a-z]", "", name.lower())
    numbered = re.sub(r"[\s_\-]", "", name.lower())
    if _MOVING.fullmatch(flat) or _ASTEROID.fullmatch(numbered):
        return "moving"
    return "sky" if _SKY.fullmatch(flat) else "lamp" if _LAMP.fullmatch(flat) else "object"
