"""Masters of a camera made from the frames of one key."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256

import numpy as np

from virtualobserver.ccd.flats import combining, make_flat
from virtualobserver.ccd.frames import OpenFrame, opened, sections
from virtualobserver.ccd.header import place_cards
from virtualobserver.ccd.loaded import load_master
from virtualobserver.ccd.masters import COUNTS
from virtualobserver.ccd.settings import CCDSettings
from virtualobserver.data.image import Image
from virtualobserver.data.product import Aux, Product, RawRef
from virtualobserver.errors import DataError
from virtualobserver.maths.ccd.masks import count_bits, hot_pixels, unstable_pixels
from virtualobserver.maths.ccd.masters import Master, master_bias, master_dark
from virtualobserver.typing import Record, RecordDict

__all__ = ["make_masters"]


def make_masters(raws: Sequence[RawRef], aux: Aux, settings: CCDSettings) -> list[Product[Image]]:
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
        _only_raw(frames, {raw.archive_id for raw in raws if raw.header.get("finished")}, refused)
        _same_gain(frames, {raw.archive_id: raw.header.get("gain") for raw in raws}, refused)
        if not frames:
            msg = f"no {kind} of {len(raws)} can be used: " + "; ".join(refused.values())
            raise DataError(msg)
        notes: list[str] = []
        if kind == "bias":
            master = master_bias(sections(frames), **combining(frames, settings))
        elif kind == "dark":
            master = _dark(frames, aux, facts, settings)
        else:
            headers = {raw.archive_id: raw.header for raw in raws}
            master = make_flat(frames, aux, headers, settings, (refused, notes))
    used = [frame for frame in frames if frame.name not in refused]
    mjds = {raw.archive_id: raw.header.get("mjd") for raw in raws}
    return _products(master, facts, used, mjds, (refused, notes), settings)


def _dark(frames: Sequence[OpenFrame], aux: Aux, facts: Record, settings: CCDSettings) -> Master:
    bias = load_master(aux.masters.get("bias"))
    master = master_dark(
        sections(frames), exptime=float(facts["exposure"]), temperature=facts["temperature"],
        **combining(frames, settings, zero=None if bias is None else float(np.median(bias.data))),
    )  # fmt: skip
    hot = hot_pixels(master.data, sigma=settings.hot_sigma)
    mask = (
        master.mask | hot.mask | unstable_pixels(sections(frames), memory_limit=settings.memory_limit * 1e9)
    )
    return replace(master, mask=mask)


def _products(  # noqa: PLR0917
    master: Master,
    facts: Record,
    used: Sequence[OpenFrame],
    mjds: Mapping[str, float | None],
    said: tuple[Mapping[str, str], Sequence[str]],
    settings: CCDSettings,
) -> list[Product[Image]]:
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
        "DATAHASH": digest, "NIGHT": facts["night"], "HISTORY": history, **place_cards(facts),
    }  # fmt: skip
    if mjd is not None:
        header["MJD-MID"] = mjd
    statistics: RecordDict = {
        "kind": kind, "camera": facts["camera"], "shape": list(facts["shape"]),
        "binning": list(facts["binning"]), "part": facts.get("part", ""), "gain": facts.get("gain"),
        "state": dict(facts.get("state") or {}), "flip": list(facts.get("flip") or (False, False)),
        "exposure": facts["exposure"], "temperature": facts["temperature"],
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
        made.append(Product(counts, role="master", series=COUNTS, band=band, statistics=statistics))
    return made


def _only_raw(frames: list[OpenFrame], finished: Collection[str], refused: dict[str, str]) -> None:
    """Take masters that another program has made out of a stack of raw frames; alone they are what there is."""
    number = sum(frame.name not in finished for frame in frames)
    for frame in [one for one in frames if number and one.name in finished]:
        refused[frame.name] = (
            f"{frame.name}: a finished master; the {number} raw frames beside it are combined"
        )
        frames.remove(frame)


def _same_gain(frames: list[OpenFrame], gains: Mapping[str, float | None], refused: dict[str, str]) -> None:
    """Take frames of another gain than most out of the stack."""
    known = [gain for frame in frames if (gain := gains[frame.name]) is not None]
    if not known:
        return
    usual = max(known, key=lambda gain: (sum(math.isclose(gain, one, rel_tol=0.01) for one in known), gain))
    for frame in list(frames):
        gain = gains[frame.name]
        if gain is not None and not math.isclose(gain, usual, rel_tol=0.01):
            refused[frame.name] = f"{frame.name}: of a gain of {gain:g} e-/ADU, the others {usual:g}"
            frames.remove(frame)


def _same_shape(frames: list[OpenFrame], refused: dict[str, str]) -> None:
    """Take frames whose files are not of the size their key says out of the stack."""
    if not frames:
        return
    shapes = [frame.shape for frame in frames]
    usual = max(set(shapes), key=shapes.count)
    for frame in [one for one in frames if one.shape != usual]:
        refused[frame.name] = f"{frame.name}: of shape {frame.shape}, the others {usual}"
        frames.remove(frame)
