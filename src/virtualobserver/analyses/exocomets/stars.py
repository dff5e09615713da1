"""The products of one star, put side by side: the same exposures in K and H."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.data.handles import Handle
from virtualobserver.data.product import Target
from virtualobserver.data.spectrum import SpectrumSet
from virtualobserver.data.table import Table
from virtualobserver.errors import DataError
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.spectra.lines import C_KM_S, CALCIUM, SODIUM
from virtualobserver.typing import Value

__all__ = ["Exposures", "Star", "StarSet", "stars_of"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

_TOLERANCE: Final = 1.0
"""Angstrom; names of lines differ in the digits of their wavelength, other lines are further away."""
_SAME_TIME: Final = 1e-6
"""Days: 0.1 s."""


@dataclass(frozen=True, slots=True)
class Exposures:
    """What is known of each exposure besides its flux; n rows, NaN where a column is missing.

    ``kept`` are rows that may be searched; ``reasons`` says for the others why not.
    """

    mjd: FloatArray
    night: IntArray
    era: IntArray
    exptime: FloatArray
    snr: FloatArray
    berv: FloatArray
    rv: FloatArray
    quality: IntArray
    kept: BoolArray
    reasons: dict[int, str]


@dataclass(frozen=True, slots=True)
class StarSet:
    """The spectra of one line; ``rows`` picks those of the common exposures."""

    line: str
    number: int
    data: SpectrumSet
    rows: IntArray
    rest: float


@dataclass(frozen=True, slots=True)
class Star:
    """All lines of one star that one survey observed; ``v_known`` is False where 0 stands in for its velocity."""

    sets: tuple[StarSet, ...]
    others: tuple[StarSet, ...]
    exposures: Exposures
    v_star: float
    v_known: bool
    vsini: float | None
    lsf: float | None
    instrument: str

    @property
    def axis(self) -> str:
        """What an axis of velocities, in km/s, is called."""
        frame = "in the star's frame" if self.v_known else "from the barycentre (star's unknown)"
        return f"velocity {frame}"


def stars_of(
    products: Sequence[Handle[SpectrumSet]], target: Target, *, line: str, snr_cut: float
) -> list[Star]:
    """Group products by survey and unit, and align their exposures.

    Raises
    ------
    DataError
        If a set of spectra is not in Angstrom, air and the barycentric frame.
    """
    groups: dict[tuple[str, str], list[tuple[int, Handle[SpectrumSet]]]] = {}
    for number, handle in enumerate(products):
        groups.setdefault((handle.info.observatory, handle.info.unit), []).append((number, handle))
    stars = []
    for members in groups.values():
        star = _star(members, target, line=line, snr_cut=snr_cut)
        if star is not None:
            stars.append(star)
    return stars


def line_of(data: SpectrumSet, series: str) -> tuple[str, float]:
    """Return the name of a set's line (``K``, ``H``, ``Na D1``, ``Na D2`` or empty) and its wavelength."""
    rest = float(data.meta.get("rest") or 0.0)
    for name, wave in {**CALCIUM, **SODIUM}.items():
        if abs(rest - wave) < _TOLERANCE or (not rest and series == name):
            return name, rest or wave
    return "", rest


def _star(
    members: Sequence[tuple[int, Handle[SpectrumSet]]], target: Target, *, line: str, snr_cut: float
) -> Star | None:
    """Join the lines of one instrument on the exposures that all have; sodium only where it has all of them."""
    found: dict[str, tuple[int, SpectrumSet, float]] = {}
    for number, handle in members:
        data = handle.load()
        name, rest = line_of(data, handle.info.series)
        if name and len(data) and name not in found:
            _check_frame(data, name)
            found[name] = (number, data, rest)
    wanted = [one for one in ("K", "H") if one in found and line in (one, "both")]
    if not wanted:
        return None
    first = found[wanted[0]][1]
    common, rows = _aligned([found[name][1].mjd for name in wanted])
    sets = tuple(
        StarSet(name, found[name][0], found[name][1], rows[position], found[name][2])
        for position, name in enumerate(wanted)
    )
    others = []
    for name in SODIUM:
        if name in found:
            number, data, rest = found[name]
            _, pair = _aligned([first.mjd[rows[0]], data.mjd])
            if pair[0].size == common.size:
                others.append(StarSet(name, number, data, pair[1], rest))
    exposures = _exposures(first, rows[0], snr_cut)
    velocity = _stellar_velocity(first, exposures)
    return Star(
        sets,
        tuple(others),
        exposures,
        0.0 if velocity is None else velocity,
        velocity is not None,
        _number(target.extra.get("vsini")),
        _resolution(first),
        str(first.meta.get("instrument", "")),
    )


def _check_frame(data: SpectrumSet, name: str) -> None:
    if data.wave_unit != "Angstrom" or data.medium != "air" or data.frame != "barycentric":
        msg = (
            f"the spectra of {name} are in {data.wave_unit}, {data.medium}, {data.frame}; the search needs "
            f"Angstrom, air, barycentric: reduce them so"
        )
        raise DataError(msg)


def _aligned(times: Sequence[FloatArray]) -> tuple[FloatArray, list[IntArray]]:
    """Return the times all sets share and, for each set, the rows that hold them, in order of time."""
    if len(times) > 1 and all(
        one.shape == times[0].shape and np.allclose(one, times[0], rtol=0, atol=_SAME_TIME) for one in times
    ):
        order = np.argsort(times[0], kind="stable").astype(np.int64)
        return np.asarray(times[0])[order], [order] * len(times)
    keys = [np.round(np.asarray(one) / _SAME_TIME).astype(np.int64) for one in times]
    shared = keys[0]
    for key in keys[1:]:
        shared = shared[np.isin(shared, key)]
    if len(times) == 1:
        order = np.argsort(times[0], kind="stable").astype(np.int64)
        return np.asarray(times[0])[order], [order]
    shared = np.unique(shared)
    rows = [np.asarray([np.flatnonzero(key == one)[0] for one in shared], dtype=np.int64) for key in keys]
    return np.asarray(times[0])[rows[0]], rows


def _exposures(data: SpectrumSet, rows: IntArray, snr_cut: float) -> Exposures:
    """Return the facts of exposures; what the reduction did not say gets the most harmless value."""
    epochs = data.epochs
    mjd = np.asarray(data.mjd, dtype=np.float64)[rows]
    night = (
        np.asarray(epochs["night"], dtype=np.int64)[rows]
        if "night" in epochs
        else np.floor(mjd).astype(np.int64)
    )
    era = (
        np.asarray(epochs["era"], dtype=np.int64)[rows] if "era" in epochs else np.zeros(rows.size, np.int64)
    )
    quality = _column(epochs, "quality", rows, 0.0).astype(np.int64)
    snr = _column(epochs, "snr", rows)
    kept = np.isfinite(mjd)
    reasons = {int(row): "no time" for row in np.flatnonzero(~kept)}
    for row in np.flatnonzero(kept & (snr < snr_cut)):
        kept[row] = False
        reasons[int(row)] = f"S/N {snr[row]:.3g} below {snr_cut:g}"
    return Exposures(
        mjd,
        night,
        era,
        _column(epochs, "exptime", rows),
        snr,
        _column(epochs, "berv", rows),
        _column(epochs, "rv", rows),
        quality,
        kept,
        reasons,
    )


def duplicates(flux: Array, mjd: FloatArray, kept: BoolArray) -> IntArray:
    """Return rows that repeat an earlier one: the same time within 0.1 s, or the same flux in every pixel."""
    repeated = []
    seen_time: dict[int, int] = {}
    seen_flux: dict[int, int] = {}
    for row in np.flatnonzero(kept):
        time = round(float(mjd[row]) / _SAME_TIME)
        content = hash(flux[row].tobytes())
        if time in seen_time or content in seen_flux:
            repeated.append(int(row))
        seen_time[time] = seen_flux[content] = int(row)
    return np.asarray(repeated, dtype=np.int64)


def _column(epochs: Table, name: str, rows: IntArray, missing: float = float("nan")) -> FloatArray:
    if name not in epochs:
        return np.full(rows.size, missing)
    return np.asarray(epochs[name], dtype=np.float64)[rows]


def _stellar_velocity(data: SpectrumSet, exposures: Exposures) -> float | None:
    """Return the velocity of the star, None where neither the reduction nor a header knows it."""
    given = _number(data.meta.get("v_star"))
    if given is not None and data.meta.get("v_star_source") != "none":
        return given
    known = exposures.rv[np.isfinite(exposures.rv)]
    return float(np.median(known)) if known.size else None


def _resolution(data: SpectrumSet) -> float | None:
    power = _number(data.meta.get("resolving_power"))
    return None if power is None or power <= 0 else C_KM_S / power


def _number(value: Value) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None
