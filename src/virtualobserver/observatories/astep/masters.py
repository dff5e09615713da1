"""Which masters of a camera suit a frame, and these made ready to use."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from virtualobserver.data.handles import Handle
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
from virtualobserver.observatories.astep.header import KINDS, frame_key
from virtualobserver.observatories.astep.loaded import Load, LoadedMasters, load_master
from virtualobserver.observatories.astep.settings import ASTEPSettings

__all__ = ["COUNTS", "Picked", "choose_masters", "pick"]

COUNTS: Final = "counts"
_BEFORE: Final = "previous "


@dataclass(frozen=True, eq=False)
class Picked:
    """The masters of one frame, ready to use, and how the dark was chosen.

    ``history`` names each master with its hash.
    """

    bias: Master | None
    dark: Master | None
    choice: DarkChoice
    flat: Master | None
    history: tuple[str, ...]


# --- choosing ---------------------------------------------------------------------------------------------


def choose_masters(
    masters: Sequence[Handle], facts: Mapping[str, Any], settings: ASTEPSettings
) -> dict[str, Handle]:
    """Return the masters that suit a frame, by name: ``bias``, ``dark``, ``flat``.

    Of masters that suit equally the nearest in time is taken, none older than `masters_within`. Where no dark
    suits, ``unsuitable dark`` is the nearest there is, so that the frame can say why. A flat gets the darks of
    all exposure times besides, as ``dark 10s``: flats of one key may differ in theirs. A science frame gets the
    dark and flat of the night before to compare, as ``previous dark`` and ``previous flat``.
    """
    if facts.get("problem"):
        return {}
    frame = frame_key(facts)
    near: dict[str, list[tuple[FrameKey, Handle]]] = {kind: [] for kind in KINDS}
    for handle in masters:
        key = _key_of(handle)
        same = (key.camera, key.shape, key.binning) == (frame.camera, frame.shape, frame.binning)
        if same and handle.info.series != COUNTS and _age(key, frame) <= settings.masters_within:
            near[key.kind].append((key, handle))
    found: dict[str, Handle] = {}
    if (bias := nearest_in_time(frame, [key for key, _ in near["bias"]], within=math.inf)) is not None:
        found["bias"] = near["bias"][bias][1]
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
        for kind in ("dark", "flat"):
            if kind in found and (before := _before(found[kind], near[kind])) is not None:
                found[f"{_BEFORE}{kind}"] = before
    return found


def master_changes(masters: Mapping[str, Handle], loaded: LoadedMasters) -> dict[str, float]:
    """Return, for dark and flat, the part of pixels in which a master differs from the one of the night before."""
    found = {}
    for name in ("dark", "flat"):
        if name in masters and (before := masters.get(f"{_BEFORE}{name}")) is not None:
            part = loaded.change(masters[name], before)
            if math.isfinite(part):
                found[name] = part
    return found


def pick(
    masters: Mapping[str, Handle],
    facts: Mapping[str, Any],
    settings: ASTEPSettings,
    load: Load = load_master,
) -> Picked:
    """Load the masters chosen for a frame, and scale its dark if needed."""
    frame = frame_key(facts)
    darks = [h for name, h in masters.items() if name.startswith("dark") or name == "unsuitable dark"]
    keys = [_key_of(handle) for handle in darks]
    bias = load(masters.get("bias"))
    choice = _choose_dark(frame, keys, settings, have_bias=bias is not None)
    dark: Master | None = None
    history = []
    if bias is not None:
        history.append(_line("bias", masters["bias"]))
    if choice.dark is not None:
        dark = load(darks[choice.dark])
        assert dark is not None
        history.append(_line("dark", darks[choice.dark]))
        if choice.how == "scaled":
            assert bias is not None
            dark = scale_dark(dark, bias, factor=choice.factor, exptime=frame.exptime)
    if "flat" in masters:
        history.append(_line("flat", masters["flat"]))
    return Picked(bias, dark, choice, load(masters.get("flat")), tuple(history))


# --- inside -----------------------------------------------------------------------------------------------


def _key_of(handle: Handle) -> FrameKey:
    return frame_key(handle.info.statistics)


def _age(key: FrameKey, frame: FrameKey) -> float:
    """Return days between two frames; 0 if one has no date."""
    return 0.0 if key.mjd is None or frame.mjd is None else abs(key.mjd - frame.mjd)


def _newest(darks: Sequence[tuple[FrameKey, Handle]], frame: FrameKey) -> list[tuple[FrameKey, Handle]]:
    """Return darks, nearest in time first: of those that suit equally the first is taken."""
    order = sorted(range(len(darks)), key=lambda n: (_age(darks[n][0], frame), darks[n][1].info.unit))
    return [darks[n] for n in order]


def _before(master: Handle, others: Sequence[tuple[FrameKey, Handle]]) -> Handle | None:
    """Return the master of the same key from the nearest night before."""
    key, _, night = master.info.unit.rpartition("/")
    nights = {
        other.info.unit.rpartition("/")[2]: other
        for _, other in others
        if other.info.unit.rpartition("/")[0] == key and other.info.unit.rpartition("/")[2] < night
    }
    return nights[max(nights)] if nights else None


def _choose_dark(
    frame: FrameKey, darks: Sequence[FrameKey], settings: ASTEPSettings, *, have_bias: bool
) -> DarkChoice:
    return choose_dark(
        frame, darks, have_bias=have_bias, temperature_tolerance=settings.temperature_tolerance,
        temperature_factor=settings.temperature_factor, scale=settings.scale_darks,
    )  # fmt: skip


def _line(name: str, handle: Handle) -> str:
    facts = handle.info
    return f"master {name} {facts.unit} hash {facts.statistics.get('hash')}"
