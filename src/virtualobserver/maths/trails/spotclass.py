"""What spots on a drift frame are: probabilities by form, place, mask and neighbours.

Each class says how likely it makes what was measured; with how common it is (`PRIORS`), that gives probabilities by
Bayes' rule, as if what is measured were independent. They are weights of evidence to sort by, no frequencies. None of
the classes is lensing: one image of one flash does not tell its cause.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import pdtrc

from virtualobserver.maths.trails.spots import Spots

__all__ = ["CLASSES", "PRIORS", "SpotClasses", "classify_spots", "on_lines"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

CLASSES: Final = ("flash", "cosmic_ray", "streak", "partial_trail", "moving_object", "artefact", "blend")
PRIORS: Final = (0.05, 0.5, 0.1, 0.05, 0.05, 0.1, 0.15)
"""How common each of `CLASSES` is among spots of one frame; the right order for 20 s of a thick CCD, not measured."""
FEWEST_ON_LINE: Final = 6
"""Spots on one line that make it one; less are on one by chance."""
_LINE_WIDTH: Final = 1.5
"""Pixels off a line within which a spot is on it."""
_MODEL: Final = 0.12
"""Relative error of the sharpness and width of a star: the image of a star is no Gaussian, and differs over a CCD."""
_TURN: Final = 6.0
"""Degrees by which the axis of what is drawn out along the track may be off it, beside its error."""
_EMPTY: Final = 0.01
"""Chance of what a class does not expect, so that no single number excludes a class for ever."""
_MASKED: Final = 0.25
"""Share of the box that is masked at which a spot is as likely made by the defect as not."""
_RAY_WIDTH: Final = 0.5
"""Width below which the atmosphere has not spread a spot."""
_MOST: Final = 2000
"""Spots, the brightest, in which lines are looked for: more than a frame has unless its model failed."""
_CHANCE: Final = 1e-3
"""Expected lines by chance in a frame of evenly spread spots, at most."""
_RESIDUE: Final = 0.15
"""Share of a trail's light below which a spot on it is as likely a fault of the trail's model as not."""


@dataclass(frozen=True, eq=False)
class SpotClasses:
    """Probabilities of `CLASSES`, shape (n, classes), and the number of the line a spot is on, -1 = none."""

    probability: FloatArray
    line: IntArray

    @property
    def label(self) -> list[str]:
        """The most probable class of each spot."""
        return [CLASSES[number] for number in np.argmax(self.probability, axis=1)]

    def of(self, number: int) -> dict[str, float]:
        """Return the probabilities of one spot by class."""
        return dict(zip(CLASSES, self.probability[number].tolist(), strict=True))


def classify_spots(
    spots: Spots, *, angle: float, length: float, shape: tuple[int, int] | None = None
) -> SpotClasses:
    """Tell what spots are.

    Parameters
    ----------
    spots
        As `find_spots` returns them, all of one frame.
    angle, length
        Of trails: degrees from +x towards +y, pixels.
    shape
        Of the frame, (ny, nx); without it no spot is known to be at an edge.

    Notes
    -----
    ``flash``: the image of a star, once. ``cosmic_ray``: sharper than that in one direction at least. ``streak``: on a
    straight line with others (a satellite). ``partial_trail``: drawn out along the track, no host: some seconds of
    light, or a trail that an edge cuts. ``moving_object``: drawn out otherwise. ``artefact``: masked pixels, or of no
    form. ``blend``: on a trail, of a small part of its light or not alone there: what its model left.
    """
    line = np.full(len(spots), -1, np.int64)
    # neither cosmic rays nor what models of trails leave make a line
    able = np.flatnonzero((spots.width > _RAY_WIDTH) & ~(spots.host_share < _RESIDUE))[:_MOST]
    line[able] = on_lines(spots.x[able], spots.y[able], angle=angle, length=length)
    if len(spots) == 0:
        return SpotClasses(np.zeros((0, len(CLASSES))), line)
    logs = np.log(np.tile(PRIORS, (len(spots), 1)))
    for evidence in (
        _sharp(spots), _form(spots, angle), _placed(spots, line, length, shape), _masks(spots), _host(spots),
    ):  # fmt: skip
        logs += np.log(np.maximum(np.stack(evidence, axis=1), _EMPTY**2))
    weight = np.exp(logs - logs.max(axis=1, keepdims=True))
    return SpotClasses(weight / weight.sum(axis=1, keepdims=True), line)


def on_lines(x: FloatArray, y: FloatArray, *, angle: float, length: float) -> IntArray:
    """Return the number of the straight line that each spot is on, -1 for none; a small Hough transform.

    The best line is taken away and the next one looked for, until the best has fewer spots than `FEWEST_ON_LINE`, or no
    more than chance would put there. What lies within the length of one trail is no line.
    """
    found = np.full(len(x), -1, np.int64)
    if len(x) < FEWEST_ON_LINE:
        return found
    x, y = np.asarray(x, float), np.asarray(y, float)
    extent = float(np.hypot(np.ptp(x), np.ptp(y))) + 1.0
    # so fine that the far end of a line moves by one width from one angle to the next
    theta = np.arange(0, np.pi, max(_LINE_WIDTH / extent, 1e-3))
    number = 0
    while True:
        rest = np.flatnonzero(found == -1)
        members = _best_line(x, y, rest, theta)
        along = _span(x[members], y[members])
        # two spots make a line: of all pairs, how many have the others on theirs by chance
        mean = 2 * _LINE_WIDTH * max(along, 1.0) * len(rest) / max(np.ptp(x) * np.ptp(y), 1.0)
        pairs = 0.5 * len(rest) * (len(rest) - 1)
        if len(members) < FEWEST_ON_LINE or pairs * pdtrc(len(members) - 3, mean) > _CHANCE:
            break
        one_trail = _most_in_one(x[members], y[members], angle, length)
        found[members] = -2 if one_trail else number
        number += not one_trail
        if np.count_nonzero(found == -1) < FEWEST_ON_LINE:
            break
    return np.where(found == -2, -1, found)


# --- inside -----------------------------------------------------------------------------------------------


def _span(x: FloatArray, y: FloatArray) -> float:
    return float(np.hypot(np.ptp(x), np.ptp(y))) if len(x) else 0.0


def _most_in_one(x: FloatArray, y: FloatArray, angle: float, length: float) -> bool:
    """Return whether all but few of the spots of a line lie along one trail."""
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    along = np.sort(x * cosine + y * sine)
    inside = np.searchsorted(along, along + 1.3 * length, side="right") - np.arange(len(along))
    return bool(inside.max() >= 0.8 * len(along))


def _best_line(x: FloatArray, y: FloatArray, rest: IntArray, theta: FloatArray) -> IntArray:
    """Return the spots on the line with most of them."""
    best = np.zeros(0, np.int64)
    for first in range(0, len(theta), 256):
        some = theta[first : first + 256]
        away = x[rest, None] * np.sin(some) - y[rest, None] * np.cos(some)
        ordered = np.sort(away, axis=0)
        for number in range(len(some)):
            row = ordered[:, number]
            count = np.searchsorted(row, row + 2 * _LINE_WIDTH, side="right") - np.arange(len(row))
            top = int(np.argmax(count))
            if count[top] > len(best):
                inside = (away[:, number] >= row[top]) & (away[:, number] <= row[top] + 2 * _LINE_WIDTH)
                best = rest[inside]
    return best


def _bell(value: FloatArray, mean: float, error: FloatArray) -> FloatArray:
    return np.asarray(np.exp(-0.5 * ((value - mean) / error) ** 2))


def _above(value: FloatArray, limit: float, error: FloatArray) -> FloatArray:
    """Return how far a value is above a limit, from 0 to 1; 0.5 at it."""
    return np.asarray(1 / (1 + np.exp(-np.clip(2 * (value - limit) / error, -50, 50))))


Evidence = tuple[FloatArray, ...]
"""How likely each of `CLASSES` makes what was measured of each spot, up to a factor common to all."""


def _sharp(spots: Spots) -> Evidence:
    """Judge sharpness and width: a cosmic ray is narrower than the atmosphere allows."""
    narrow = np.log(np.maximum(spots.width, 0.05))
    narrow_error = np.hypot(0.5 * spots.elongation_error, _MODEL)
    # a round spot looks narrow as much as it looks long: its minor axis is the smaller of two
    star = _bell(np.minimum(spots.sharpness, 1e3), 1.0, np.hypot(spots.sharpness_error, _MODEL))
    wide = _bell(np.minimum(narrow + 0.5 * spots.elongation_error, 0.0), 0.0, narrow_error)
    ray = np.maximum(
        _above(spots.sharpness, 1.6, np.hypot(spots.sharpness_error, 0.2)), _above(-narrow, 0.5, narrow_error)
    )
    soft = np.where(spots.sharpness < 1, 1.0, star) * wide
    flat = np.full(len(spots), 0.3)
    return star * wide, ray, soft, soft, soft, flat, np.full(len(spots), 0.5)


def _form(spots: Spots, angle: float) -> Evidence:
    """Judge elongation and the direction of the major axis."""
    long = np.log(spots.elongation)
    error = np.hypot(spots.elongation_error, _MODEL)
    round_ = np.exp(-0.5 * (long / error) ** 2)
    drawn = 1 - np.exp(-0.5 * (long / (1.5 * error)) ** 2)
    off = (spots.angle - angle + 90) % 180 - 90
    turn = np.hypot(_TURN, np.degrees(0.5 * spots.elongation_error / np.maximum(long, 0.05)))
    along = np.exp(-0.5 * (off / np.minimum(turn, 60)) ** 2)
    share = np.clip(turn * np.sqrt(2 * np.pi) / 180, 0, 1)  # of all directions those along the track
    flat = np.full(len(spots), 0.5)
    return round_, flat, flat, drawn * along / share, drawn * (1 - along) + 0.02, flat, 0.3 + along


def _placed(spots: Spots, line: IntArray, length: float, shape: tuple[int, int] | None) -> Evidence:
    """Judge lines through spots, and edges of the frame."""
    lined = line >= 0
    other = np.where(lined, 0.05, 1.0)
    edge = np.zeros(len(spots), bool)
    if shape is not None:
        near = np.minimum(spots.x, shape[1] - 1 - spots.x), np.minimum(spots.y, shape[0] - 1 - spots.y)
        edge = (near[0] < length) | (near[1] < length)
    partial = other * np.where(edge, 1.0, 0.5)
    return other, other, np.where(lined, 1.0, 0.01), partial, other, other, other


def _masks(spots: Spots) -> Evidence:
    """Judge masked pixels: defects make artefacts, and pipelines find most cosmic rays."""
    share = spots.n_masked / np.maximum(spots.n_pixels, 1)
    clean = _above(-share, -_MASKED, np.full(len(spots), 0.1))
    ray = spots.n_cosmic_ray > 0
    few = np.where(ray, 0.2, 1.0)
    return (
        few * clean,
        np.where(ray, 1.0, 0.3) * clean,
        few * clean,
        few * clean,
        few * clean,
        1.05 - clean,
        few * clean,
    )


def _host(spots: Spots) -> Evidence:
    """Judge the trail below: what is left of it is a small part of it, or is not alone."""
    on = spots.host >= 0
    known, number = np.unique(spots.host[on], return_counts=True)
    beside = np.zeros(len(spots))
    beside[on] = number[np.searchsorted(known, spots.host[on])] - 1
    small = np.where(np.isfinite(spots.host_share), 1 / (1 + (spots.host_share / _RESIDUE) ** 2), 0.2)
    residue = np.where(on, np.maximum(small, 1 - 0.6 ** np.maximum(beside - 1, 0)), _EMPTY)
    free = np.where(on, 1 - 0.95 * residue, 1.0)
    return free, np.ones(len(spots)), free, np.where(on, 0.2 * free, 1.0), free, free, residue
