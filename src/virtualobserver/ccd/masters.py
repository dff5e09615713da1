"""Which masters of a camera suit a frame, and these made ready to use."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.ccd.header import KINDS, frame_key
from virtualobserver.ccd.loaded import Load, LoadedMasters, load_master
from virtualobserver.ccd.settings import CCDSettings
from virtualobserver.data.handles import Handle
from virtualobserver.data.image import Image
from virtualobserver.maths.ccd.masters import (
    Master,
    scale_dark,
)
from virtualobserver.maths.ccd.match import (
    DarkChoice,
    FrameKey,
    choose_dark,
    choose_flat,
    nearest_in_time,
)
from virtualobserver.maths.lightcurves.statistics import mad
from virtualobserver.typing import Record

__all__ = ["COUNTS", "Picked", "choose_masters", "pick"]

COUNTS: Final = "counts"
_BEFORE: Final = "previous "
_OTHER: Final = "other bias"


@dataclass(frozen=True, eq=False)
class Picked:
    """The masters of one frame, ready to use, and how the dark was chosen.

    ``history`` names each master with its hash, ``doubts`` those that rest on few frames or are old; ``mask`` holds
    the hot pixels of a dark that is not subtracted; ``level``: the bias is the median of one of another mode.
    """

    bias: Master | None
    dark: Master | None
    choice: DarkChoice
    flat: Master | None
    history: tuple[str, ...]
    doubts: tuple[str, ...] = ()
    level: bool = False
    mask: NDArray[np.uint16] | None = None


# --- choosing ---------------------------------------------------------------------------------------------


def choose_masters(
    masters: Sequence[Handle[Image]], facts: Record, settings: CCDSettings
) -> dict[str, Handle[Image]]:
    """Return the masters that suit a frame, by name: ``bias``, ``dark``, ``flat``.

    Of masters that suit equally the nearest in time is taken, none older than `masters_within`. Where no dark
    suits, ``unsuitable dark`` is the nearest there is, so that the frame can say why. A flat gets the darks of
    all exposure times besides, as ``dark 10s``: flats of one key may differ in theirs. A science frame gets the
    dark and flat of the night before to compare, as ``previous dark`` and ``previous flat``. Where there is no bias
    and `without_bias` is ``level``, ``other bias`` is the nearest one of the camera in another mode.
    """
    if facts.get("problem"):
        return {}
    frame = frame_key(facts)
    near: dict[str, list[tuple[FrameKey, Handle[Image]]]] = {kind: [] for kind in KINDS}
    for handle in masters:
        key = _key_of(handle)
        if (
            key.same_detector(frame)
            and handle.info.series != COUNTS
            and _age(key, frame) <= settings.masters_within
        ):
            near[key.kind].append((key, handle))
    found: dict[str, Handle[Image]] = {}
    if (bias := nearest_in_time(frame, [key for key, _ in near["bias"]], within=math.inf)) is not None:
        found["bias"] = near["bias"][bias][1]
    elif (other := _other_bias(masters, frame, settings)) is not None:
        found[_OTHER] = other
    darks = _newest(near["dark"], frame)
    keys = [key for key, _ in darks]
    choice = _choose_dark(frame, keys, settings, have_bias="bias" in found)
    if choice.dark is not None:
        found["dark"] = darks[choice.dark][1]
    elif darks:
        found["unsuitable dark"] = darks[0][1]
    if frame.kind == "flat":
        found |= {f"dark {key.exptime:.4g}s": handle for key, handle in reversed(darks)}
    flat = choose_flat(frame, [key for key, _ in near["flat"]])
    if flat is not None:
        found["flat"] = near["flat"][flat][1]
    if frame.kind == "science" and settings.master_change < 1:
        found |= _previous(found, near)
    return found


def master_changes(masters: Mapping[str, Handle[Image]], loaded: LoadedMasters) -> dict[str, float]:
    """Return, for dark and flat, the part of pixels in which a master differs from the one of the night before."""
    found = {}
    for name in ("dark", "flat"):
        if name in masters and (before := masters.get(f"{_BEFORE}{name}")) is not None:
            part = loaded.change(masters[name], before)
            if math.isfinite(part):
                found[name] = part
    return found


def pick(
    masters: Mapping[str, Handle[Image]],
    facts: Record,
    settings: CCDSettings,
    load: Load = load_master,
) -> Picked:
    """Load the masters chosen for a frame, and scale its dark if needed."""
    frame = frame_key(facts)
    darks = [h for name, h in masters.items() if name.startswith("dark") or name == "unsuitable dark"]
    keys = [_key_of(handle) for handle in darks]
    bias = load(masters.get("bias"))
    choice = _choose_dark(frame, keys, settings, have_bias=bias is not None)
    used: dict[str, Handle[Image]] = {}
    dark, mask = None, None
    if bias is not None:
        used["bias"] = masters["bias"]
        bias = _turned(bias, used["bias"], frame)
    elif choice.how == "none" and (other := masters.get(_OTHER)) is not None:
        bias = _level_of(other, frame)
        choice = DarkChoice(
            "bias", None, 0.0, True, f"no bias: the median of {other.info.unit} is subtracted"
        )
    if choice.dark is not None:
        used["dark"] = darks[choice.dark]
        dark = load(used["dark"])
        assert dark is not None
        dark = _turned(dark, used["dark"], frame)
        if choice.how == "scaled":
            assert bias is not None
            mask = dark.mask
            choice, dark = _scaled(choice, dark, bias, frame.exptime)
            mask = mask if dark is None else None
    flat = load(masters.get("flat"))
    if flat is not None:
        used["flat"] = masters["flat"]
        flat = _turned(flat, used["flat"], frame)
    level = bias is not None and "bias" not in used
    history = tuple(_line(name, handle) for name, handle in used.items())
    doubts = _small(used, choice, settings.fewest_frames) + _old(used, frame, settings.masters_warn)
    return Picked(bias, dark, choice, flat, history, doubts, level=level, mask=mask)


# --- inside -----------------------------------------------------------------------------------------------


def _key_of(handle: Handle[Image]) -> FrameKey:
    return frame_key(handle.info.statistics)


def _turned(master: Master, handle: Handle[Image], frame: FrameKey) -> Master:
    """Return a master the way round that a frame is."""
    here = _key_of(handle).flip
    steps = tuple(slice(None, None, -1 if here[n] != frame.flip[n] else 1) for n in (1, 0))
    if here == frame.flip:
        return master
    return replace(
        master, data=np.ascontiguousarray(master.data[steps]), variance=np.ascontiguousarray(master.variance[steps]),
        mask=np.ascontiguousarray(master.mask[steps]),
    )  # fmt: skip


def _scaled(
    choice: DarkChoice, dark: Master, bias: Master, exptime: float
) -> tuple[DarkChoice, Master | None]:
    """Return a dark scaled about the bias, or the choice of the bias alone where that would do harm."""
    if reason := _costs_more(dark, bias, choice.factor):
        why = f"{choice.reason} {reason}: only the bias is subtracted"
        return DarkChoice("bias", None, 0.0, True, why), None
    return choice, scale_dark(dark, bias, factor=choice.factor, exptime=exptime)


def _small(used: Mapping[str, Handle[Image]], choice: DarkChoice, fewest: int) -> tuple[str, ...]:
    """Return which of the masters that are subtracted or divided by rest on few frames."""
    subtracted = {"dark": ("dark",), "scaled": ("bias", "dark")}.get(choice.how, ("bias",))
    numbers = {
        name: int(handle.info.statistics.get("n_combine") or 0)
        for name, handle in used.items()
        if name in {"flat", *subtracted}
    }
    return tuple(
        f"the master {name} rests on {n} frame{'s' if n > 1 else ''}"
        for name, n in numbers.items()
        if 0 < n < fewest
    )


def _old(used: Mapping[str, Handle[Image]], frame: FrameKey, most: float) -> tuple[str, ...]:
    """Return which masters are of another time than the frame."""
    ages = {name: _age(_key_of(handle), frame) for name, handle in used.items()}
    return tuple(f"the master {name} is {age:.0f} d away" for name, age in ages.items() if age > most)


def _other_bias(
    masters: Sequence[Handle[Image]], frame: FrameKey, settings: CCDSettings
) -> Handle[Image] | None:
    """Return the nearest bias of the camera, whatever its shape and settings; None if that is not to be used."""
    if settings.without_bias == "nothing" or settings.overscan != "none":
        return None
    biases = [
        handle
        for handle in masters
        if handle.info.series != COUNTS
        and (key := _key_of(handle)).kind == "bias"
        and key.camera == frame.camera
    ]
    return min(biases, key=lambda one: (_age(_key_of(one), frame), one.info.unit), default=None)


def _level_of(bias: Handle[Image], frame: FrameKey) -> Master:
    """Return a bias of the same value everywhere, the median of another one; its scatter is that of its pixels."""
    facts = bias.info.statistics
    plane = np.full(frame.shape, facts["median"], np.float32)
    variance = np.full(frame.shape, float(facts.get("scatter") or 0.0) ** 2, np.float32)
    return Master(plane, variance, np.zeros(frame.shape, np.uint16), np.zeros((0, 0), np.uint16), 1, 0)


def _costs_more(dark: Master, bias: Master, factor: float) -> str:
    """Return why a dark is better not scaled, empty if it is better scaled.

    Scaling adds the noise of both masters times the factor, and takes away the dark current times the factor: its
    level, and how it differs from pixel to pixel as far as that is more than noise. Hot pixels, which are masked
    whatever is subtracted, do not count, nor does noise below the read noise, which no frame is free of.
    """
    good = dark.mask == 0
    current = (dark.data - bias.data)[good]
    if not current.size:
        return ""
    noise = float(np.median((dark.variance + bias.variance)[good]))
    level = float(np.median(current))
    pattern = max(mad(current, scaled=True) ** 2 - noise, 0.0)
    gained, lost = factor * math.sqrt(pattern + level**2), factor * math.sqrt(noise)
    read_noise = math.sqrt(float(np.median(bias.variance[good])) * max(bias.n_combine, 1))
    if lost <= max(gained, read_noise):
        return ""
    return f"would add {lost:.3g} ADU of noise and take away {gained:.3g} ADU"


def _age(key: FrameKey, frame: FrameKey) -> float:
    """Return days between two frames; 0 if one has no date."""
    return 0.0 if key.mjd is None or frame.mjd is None else abs(key.mjd - frame.mjd)


def _newest(
    darks: Sequence[tuple[FrameKey, Handle[Image]]], frame: FrameKey
) -> list[tuple[FrameKey, Handle[Image]]]:
    """Return darks, nearest in time first: of those that suit equally the first is taken."""
    order = sorted(range(len(darks)), key=lambda n: (_age(darks[n][0], frame), darks[n][1].info.unit))
    return [darks[n] for n in order]


def _previous(
    found: Mapping[str, Handle[Image]], near: Mapping[str, Sequence[tuple[FrameKey, Handle[Image]]]]
) -> dict[str, Handle[Image]]:
    """Return dark and flat of the night before those that were found."""
    return {
        f"{_BEFORE}{kind}": before
        for kind in ("dark", "flat")
        if kind in found and (before := _before(found[kind], near[kind])) is not None
    }


def _before(master: Handle[Image], others: Sequence[tuple[FrameKey, Handle[Image]]]) -> Handle[Image] | None:
    """Return the master of the same key from the nearest night before."""
    key, _, night = master.info.unit.rpartition("/")
    nights = {
        other.info.unit.rpartition("/")[2]: other
        for _, other in others
        if other.info.unit.rpartition("/")[0] == key and other.info.unit.rpartition("/")[2] < night
    }
    return nights[max(nights)] if nights else None


def _choose_dark(
    frame: FrameKey, darks: Sequence[FrameKey], settings: CCDSettings, *, have_bias: bool
) -> DarkChoice:
    return choose_dark(
        frame, darks, have_bias=have_bias, temperature_tolerance=settings.temperature_tolerance,
        temperature_factor=settings.temperature_factor, scale=settings.scale_darks,
    )  # fmt: skip


def _line(name: str, handle: Handle[Image]) -> str:
    facts = handle.info
    return f"master {name} {facts.unit} hash {facts.statistics.get('hash')}"
