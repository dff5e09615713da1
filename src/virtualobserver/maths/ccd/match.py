"""Which calibration frames belong together, and which master suits a frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["DarkChoice", "FrameKey", "choose_dark", "choose_flat", "nearest_in_time"]

Kind = Literal["bias", "dark", "flat", "science"]
_GAIN_TOLERANCE = 0.01  # headers round gains; settings of a camera are further apart


@dataclass(frozen=True)
class FrameKey:
    """What has to agree between a frame and its masters.

    Parameters
    ----------
    kind
        ``bias``, ``dark``, ``flat`` or ``science``.
    camera
        Name of the camera.
    shape
        Rows and columns: subframe and binning together.
    binning
        Pixels binned along x and y.
    exptime
        Exposure time, s.
    temperature
        Of the detector, degrees Celsius; None = not known.
    band
        Filter; empty where it does not matter or is not known.
    mjd
        Middle of the exposure, UTC; None = not known.
    part
        Detector or amplifier, where a file holds several.
    gain
        e-/ADU; None = not known, which agrees with all.
    state
        Settings of the camera by name (gain setting, offset, read mode, origin of a sub-frame).
    flip
        Whether columns and rows run backwards: a master of the other orientation can be turned.
    """

    kind: Kind
    camera: str = ""
    shape: tuple[int, int] = (0, 0)
    binning: tuple[int, int] = (1, 1)
    exptime: float = 0.0
    temperature: float | None = None
    band: str = ""
    mjd: float | None = None
    part: str = ""
    gain: float | None = None
    state: tuple[tuple[str, str], ...] = ()
    flip: tuple[bool, bool] = (False, False)

    def same_detector(self, other: FrameKey) -> bool:
        """Whether two frames were taken with the same pixels in the same way, turned or not."""
        same = (self.camera, self.part, self.shape, self.binning, self.state)
        if same != (other.camera, other.part, other.shape, other.binning, other.state):
            return False
        if self.gain is None or other.gain is None:
            return True
        return math.isclose(self.gain, other.gain, rel_tol=_GAIN_TOLERANCE)


@dataclass(frozen=True)
class DarkChoice:
    """How the dark current of a frame is taken off.

    Parameters
    ----------
    how
        ``dark``: a master dark of the same exposure time, which holds the bias; ``scaled``: one of another
        exposure time or temperature, scaled about the bias; ``bias``: only the bias; ``none``.
    dark
        Position in the list of masters, None without.
    factor
        On the master dark less its bias; 1 for ``dark``.
    flagged
        Whether the frame has to say that it is not fully calibrated.
    reason
        Why, for header and log.
    """

    how: Literal["dark", "scaled", "bias", "none"]
    dark: int | None
    factor: float
    flagged: bool
    reason: str


def choose_dark(
    frame: FrameKey,
    darks: Sequence[FrameKey],
    *,
    have_bias: bool,
    # chosen: dark current of silicon doubles in 5 to 8 degrees: a fifth to a third over 2
    temperature_tolerance: float = 2.0,
    time_tolerance: float = 0.01,  # chosen: exposure times are rounded; 1 % of a dark is less than its noise
    temperature_factor: float = 0.0,
    scale: bool = True,
) -> DarkChoice:
    """Choose the master dark of a frame.

    One of the same exposure time and temperature if there is one; else, if there is a bias to scale about,
    the nearest in exposure time and temperature, scaled; else the bias alone or nothing, flagged. A dark of
    another exposure time is never subtracted as it is.

    Parameters
    ----------
    frame
        The frame to calibrate.
    darks
        Keys of the master darks there are.
    have_bias
        Whether there is a master bias.
    temperature_tolerance
        Degrees within which temperatures agree; unknown ones agree with all.
    temperature_factor
        k in exp(k (T - T0)), per degree, of the camera's dark current; 0 = temperatures are not scaled, and a
        dark of another temperature does not suit.
    scale
        Whether scaling is allowed at all.
    """
    suits = [number for number, dark in enumerate(darks) if dark.same_detector(frame)]
    same_heat = [n for n in suits if _apart(darks[n], frame) <= temperature_tolerance]
    exact = [n for n in same_heat if _same_time(darks[n].exptime, frame.exptime, time_tolerance)]
    if exact:
        best = min(exact, key=lambda n: (_apart(darks[n], frame), _days(darks[n], frame), n))
        return DarkChoice("dark", best, 1.0, False, f"master dark of {darks[best].exptime:g} s")
    usable = suits if temperature_factor else same_heat
    usable = [n for n in usable if darks[n].exptime > 0]
    if usable and have_bias and scale:
        best = min(usable, key=lambda n: (_ratio(darks[n], frame), _apart(darks[n], frame), n))
        factor = _scale(frame, darks[best], temperature_factor)
        reason = f"master dark of {darks[best].exptime:g} s scaled by {factor:.4g} about the bias"
        return DarkChoice("scaled", best, factor, False, reason)
    why = _why_none(frame, [darks[n].exptime for n in usable], some=bool(suits), have_bias=have_bias)
    if have_bias:
        return DarkChoice("bias", None, 0.0, True, f"{why}: only the bias is subtracted")
    return DarkChoice("none", None, 0.0, True, f"{why}, no bias: nothing is subtracted")


def _scale(frame: FrameKey, dark: FrameKey, temperature_factor: float) -> float:
    """Return t/t0 exp(k (T - T0))."""
    factor = frame.exptime / dark.exptime
    if temperature_factor and frame.temperature is not None and dark.temperature is not None:
        factor *= math.exp(temperature_factor * (frame.temperature - dark.temperature))
    return factor


def _why_none(frame: FrameKey, usable: Sequence[float], *, some: bool, have_bias: bool) -> str:
    """Return why there is no dark for a frame, from the exposure times of those of its temperature."""
    if not some:
        settings = ", ".join(f"{name} {value}" for name, value in frame.state)
        return "no master dark of this camera, shape, binning and settings" + (
            f" ({settings})" if settings else ""
        )
    if not usable:
        return f"no master dark near {frame.temperature} degrees"
    there = ", ".join(f"{exptime:g}" for exptime in usable)
    why = f"no master dark of {frame.exptime:g} s (there are {there} s)"
    return why + (", and none may be scaled" if have_bias else ", and without a bias none can be scaled")


def choose_flat(frame: FrameKey, flats: Sequence[FrameKey]) -> int | None:
    """Return which master flat suits a frame: same detector and filter, nearest in time."""
    suits = [n for n, flat in enumerate(flats) if flat.same_detector(frame) and flat.band == frame.band]
    return min(suits, key=lambda n: (_days(flats[n], frame), n)) if suits else None


def nearest_in_time(frame: FrameKey, masters: Sequence[FrameKey], *, within: float = 30.0) -> int | None:
    """Return the master nearest in time, None if none lies within `within` days; unknown dates come last."""
    near = [n for n, master in enumerate(masters) if not math.inf > _days(master, frame) > within]
    return min(near, key=lambda n: (_days(masters[n], frame), n)) if near else None


def _same_time(one: float, other: float, tolerance: float) -> bool:
    return abs(one - other) <= tolerance * max(abs(one), abs(other))


def _apart(one: FrameKey, other: FrameKey) -> float:
    if one.temperature is None or other.temperature is None:
        return 0.0
    return abs(one.temperature - other.temperature)


def _ratio(one: FrameKey, other: FrameKey) -> float:
    return abs(math.log(one.exptime / other.exptime)) if other.exptime > 0 else 0.0


def _days(one: FrameKey, other: FrameKey) -> float:
    return math.inf if one.mjd is None or other.mjd is None else abs(one.mjd - other.mjd)
