"""Masters of a camera: made from the frames of one key, and chosen for a frame."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.data.handles import Handle
from virtualobserver.data.image import Image
from virtualobserver.data.product import Aux, Product, RawRef
from virtualobserver.errors import BadKeyword, DataError, NotEnoughData
from virtualobserver.maths.ccd_combine import NoiseModel
from virtualobserver.maths.ccd_masks import count_bits, flat_mask, hot_pixels, unstable_pixels
from virtualobserver.maths.ccd_masters import (
    FlatLevel,
    Master,
    flat_level,
    master_bias,
    master_dark,
    master_flat,
    scale_dark,
    select_flats,
)
from virtualobserver.maths.ccd_match import (
    DarkChoice,
    FrameKey,
    choose_dark,
    choose_flat,
    nearest_in_time,
)
from virtualobserver.observatories.astep.frames import OpenFrame, opened, sections
from virtualobserver.observatories.astep.header import KINDS, detector_of, frame_key
from virtualobserver.observatories.astep.settings import ASTEPSettings

__all__ = ["Picked", "choose_masters", "make_masters", "pick"]

_COUNTS: Final = "counts"


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
    all exposure times besides, as ``dark 10s``: flats of one key may differ in theirs.
    """
    if facts.get("problem"):
        return {}
    frame = frame_key(facts)
    near: dict[str, list[tuple[FrameKey, Handle]]] = {kind: [] for kind in KINDS}
    for handle in masters:
        key = _key_of(handle)
        same = (key.camera, key.shape, key.binning) == (frame.camera, frame.shape, frame.binning)
        if same and handle.info.series != _COUNTS and _age(key, frame) <= settings.masters_within:
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
    return found


def pick(masters: Mapping[str, Handle], facts: Mapping[str, Any], settings: ASTEPSettings) -> Picked:
    """Load the masters chosen for a frame, and scale its dark if needed."""
    frame = frame_key(facts)
    darks = [h for name, h in masters.items() if name.startswith("dark") or name == "unsuitable dark"]
    keys = [_key_of(handle) for handle in darks]
    bias = _load(masters.get("bias"))
    choice = _choose_dark(frame, keys, settings, have_bias=bias is not None)
    dark, history = None, []
    if bias is not None:
        history.append(_line("bias", masters["bias"]))
    if choice.dark is not None:
        dark = _load(darks[choice.dark])
        assert dark is not None
        history.append(_line("dark", darks[choice.dark]))
        if choice.how == "scaled":
            assert bias is not None
            dark = scale_dark(dark, bias, factor=choice.factor, exptime=frame.exptime)
    if "flat" in masters:
        history.append(_line("flat", masters["flat"]))
    return Picked(bias, dark, choice, _load(masters.get("flat")), tuple(history))


# --- making -----------------------------------------------------------------------------------------------


def make_masters(raws: Sequence[RawRef], aux: Aux, settings: ASTEPSettings) -> list[Product]:
    """Combine the frames of one key. Frames that cannot be used are left out, and the header says why.

    Raises
    ------
    DataError
        If none is left; the message gives the reason for each.
    """
    if not raws:
        return []
    facts = next((raw.header for raw in raws if not raw.header.get("problem")), raws[0].header)
    kind = str(facts["kind"])
    with opened(raws, settings) as (frames, refused):
        _same_shape(frames, refused)
        if not frames:
            msg = f"no {kind} of {len(raws)} can be used: " + "; ".join(refused.values())
            raise DataError(msg)
        notes: list[str] = []
        if kind == "bias":
            master = master_bias(sections(frames), **_options(frames, settings))
        elif kind == "dark":
            master = _dark(frames, aux, facts, settings)
        else:
            headers = {raw.archive_id: raw.header for raw in raws}
            master = _flat(frames, aux, headers, settings, refused, notes)
    used = [frame for frame in frames if frame.name not in refused]
    mjds = {raw.archive_id: raw.header.get("mjd") for raw in raws}
    return _products(master, facts, used, mjds, (refused, notes), settings)


def _dark(frames: Sequence[OpenFrame], aux: Aux, facts: Mapping[str, Any], settings: ASTEPSettings) -> Master:
    bias = _load(aux.masters.get("bias"))
    master = master_dark(
        sections(frames), exptime=float(facts["exposure"]), temperature=facts["temperature"],
        **_options(frames, settings, zero=None if bias is None else float(np.median(bias.data))),
    )  # fmt: skip
    hot = hot_pixels(master.data, sigma=settings.hot_sigma)
    mask = master.mask | hot.mask | unstable_pixels(sections(frames))
    return replace(master, mask=mask)


def _flat(  # noqa: PLR0917
    frames: Sequence[OpenFrame],
    aux: Aux,
    headers: Mapping[str, Mapping[str, Any]],
    settings: ASTEPSettings,
    refused: dict[str, str],
    notes: list[str],
) -> Master:
    """Combine flats, each freed of the dark of its own exposure time."""
    masters = {name: handle for name, handle in aux.masters.items() if name != "flat"}
    chosen = {}
    for frame in frames:
        exposure = headers[frame.name]["exposure"]
        if exposure not in chosen:
            chosen[exposure] = pick(masters, headers[frame.name], settings)
            if chosen[exposure].choice.flagged:
                notes.append(f"flats of {exposure:g} s: {chosen[exposure].choice.reason}")
    zeros = [chosen[headers[frame.name]["exposure"]] for frame in frames]
    dark = zeros[0].dark or zeros[0].bias
    rebased = [_Rebased(f, zero.dark or zero.bias, dark) for f, zero in zip(frames, zeros, strict=True)]
    detector = _gain(frames[0], settings)
    plane = None if dark is None else _Plane(dark.data)
    levels = [flat_level(f, dark=plane, gain=detector[0], read_noise=detector[1]) for f in rebased]
    low, high = settings.flat_range
    good, why = select_flats(levels, lowest=low, highest=high, snr=settings.flat_snr)
    refused |= {frames[number].name: reason for number, reason in why.items()}
    band = str(headers[frames[0].name]["band"])
    if not good:
        msg = f"filter {band!r}: no flat of {len(frames)} can be used: " + "; ".join(refused.values())
        raise NotEnoughData(msg)
    kept: list[FlatLevel] = [levels[number] for number in good]
    options = _options(frames, settings)
    options["noise"] = None  # sky flats differ by their stars; the scatter is measured
    master = master_flat(
        [rebased[number] for number in good], kept, band=band, dark=dark, method="median",
        limits=(-np.inf, settings.saturation), **options,
    )  # fmt: skip
    return replace(master, mask=master.mask | flat_mask(master.data, sigma=settings.flat_sigma))


def _products(  # noqa: PLR0917
    master: Master,
    facts: Mapping[str, Any],
    used: Sequence[OpenFrame],
    mjds: Mapping[str, float | None],
    said: tuple[Mapping[str, str], Sequence[str]],
    settings: ASTEPSettings,
) -> list[Product]:
    kind, (refused, notes) = str(facts["kind"]), said
    times = [mjd for mjd in (mjds[frame.name] for frame in used) if mjd is not None]
    mjd = float(np.mean(times)) if times else None
    digest = sha256(master.data.tobytes() + master.mask.tobytes()).hexdigest()[:16]
    history = [f"master {kind} of {master.n_combine} frames, {master.n_reject} values rejected"]
    history += [f"input {frame.name} sha256 {frame.sha256[:16]}" for frame in used]
    history += [f"left out {name}: {reason}" for name, reason in refused.items()]
    history += [f"note: {note}" for note in notes]
    header = {
        "ACQTYPE": f"MASTER{kind.upper()}", "INSTRUME": facts["camera"], "NCOMBINE": master.n_combine,
        "NREJECT": master.n_reject, "NLEFTOUT": len(refused), "MINUSED": int(master.n_used.min()),
        "EXPTIME": facts["exposure"], "CCD-TEMP": facts["temperature"], "FILTER": facts["band"],
        "DATAHASH": digest, "NIGHT": facts["night"], "HISTORY": history,
    }  # fmt: skip
    if mjd is not None:
        header["MJD-MID"] = mjd
    statistics: dict[str, Any] = {
        "kind": kind, "camera": facts["camera"], "shape": list(facts["shape"]),
        "binning": list(facts["binning"]), "exposure": facts["exposure"], "temperature": facts["temperature"],
        "band": facts["band"], "mjd": mjd, "hash": digest, "n_combine": master.n_combine,
        "n_reject": master.n_reject, "left_out": dict(refused), "notes": list(notes),
        "mask": {name: n for name, n in count_bits(master.mask).items() if n},
        **{name: value for name, value in master.statistics.items() if math.isfinite(value)},
    }  # fmt: skip
    image = Image(master.data, master.variance, master.mask, header, unit=master.unit)
    band = str(facts["band"]) if kind == "flat" else ""
    made = [Product(image, role="master", band=band, statistics=statistics)]
    if settings.keep_counts:
        counts = Image(master.n_used, header=header, unit="")
        made.append(Product(counts, role="master", series=_COUNTS, band=band, statistics=statistics))
    return made


# --- inside -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Plane:
    array: NDArray[np.float32]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    def section(self, rows: slice) -> NDArray[np.float32]:
        return self.array[rows]


@dataclass(frozen=True, eq=False)
class _Rebased:
    """A flat as if it had the dark of the first one of its stack."""

    frame: OpenFrame
    own: Master | None
    first: Master | None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.frame.shape

    def section(self, rows: slice) -> NDArray[Any]:
        values = self.frame.section(rows)
        if self.own is self.first:
            return values
        own = 0.0 if self.own is None else self.own.data[rows]
        first = 0.0 if self.first is None else self.first.data[rows]
        return np.asarray(values - own + first, dtype=np.float32)


def _key_of(handle: Handle) -> FrameKey:
    return frame_key(handle.info.statistics)


def _age(key: FrameKey, frame: FrameKey) -> float:
    """Return days between two frames; 0 if one has no date."""
    return 0.0 if key.mjd is None or frame.mjd is None else abs(key.mjd - frame.mjd)


def _newest(darks: Sequence[tuple[FrameKey, Handle]], frame: FrameKey) -> list[tuple[FrameKey, Handle]]:
    """Return darks, nearest in time first: of those that suit equally the first is taken."""
    order = sorted(range(len(darks)), key=lambda n: (_age(darks[n][0], frame), darks[n][1].info.unit))
    return [darks[n] for n in order]


def _choose_dark(
    frame: FrameKey, darks: Sequence[FrameKey], settings: ASTEPSettings, *, have_bias: bool
) -> DarkChoice:
    return choose_dark(
        frame, darks, have_bias=have_bias, temperature_tolerance=settings.temperature_tolerance,
        temperature_factor=settings.temperature_factor, scale=settings.scale_darks,
    )  # fmt: skip


def _load(handle: Handle | None) -> Master | None:
    if handle is None:
        return None
    image: Image = handle.load()
    facts = handle.info.statistics
    assert image.variance is not None
    assert image.mask is not None
    return Master(
        image.data.astype(np.float32, copy=False), image.variance.astype(np.float32, copy=False),
        image.mask.astype(np.uint16, copy=False), np.zeros((0, 0), np.uint16),
        int(facts.get("n_combine") or 0), int(facts.get("n_reject") or 0), unit=image.unit,
        exptime=float(facts.get("exposure") or 0.0), temperature=facts.get("temperature"),
        band=str(facts.get("band") or ""),
    )  # fmt: skip


def _line(name: str, handle: Handle) -> str:
    facts = handle.info
    return f"master {name} {facts.unit} hash {facts.statistics.get('hash')}"


def _gain(frame: OpenFrame, settings: ASTEPSettings) -> tuple[float, float]:
    """Return gain and read noise of a calibration frame; 1 and 0 if its header does not say."""
    try:
        detector, _ = detector_of(frame.header, frame.name, settings)
    except BadKeyword:
        return 1.0, 0.0
    return detector.gain, detector.read_noise


def _options(
    frames: Sequence[OpenFrame], settings: ASTEPSettings, *, zero: float | None = None
) -> dict[str, Any]:
    """Return noise model and memory for `combine`."""
    options: dict[str, Any] = {"memory_limit": settings.memory_limit * 1e9, "noise": None}
    try:
        detector, _ = detector_of(frames[0].header, frames[0].name, settings)
    except BadKeyword:
        return options
    if zero is None:
        middle = frames[0].shape[0] // 2
        zero = float(np.median(frames[0].section(slice(middle, middle + 8))))
    options["noise"] = NoiseModel(detector.read_noise, detector.gain, zero)
    return options


def _same_shape(frames: list[OpenFrame], refused: dict[str, str]) -> None:
    """Take frames whose files are not of the size their key says out of the stack."""
    if not frames:
        return
    shapes = [frame.shape for frame in frames]
    usual = max(set(shapes), key=shapes.count)
    for frame in [one for one in frames if one.shape != usual]:
        refused[frame.name] = f"{frame.name}: of shape {frame.shape}, the others {usual}"
        frames.remove(frame)
