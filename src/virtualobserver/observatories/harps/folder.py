"""Spectra a user already has: folders of ``ADP.*.fits`` or ``*_s1d_A.fits``, or the tree of the older scripts.

Files are found anywhere below the folder and belong to a target by position, not by name; the header alone is
read for that. A tree (``<star>/spec/sK.npy`` and its neighbours) belongs to a target by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import structlog
from numpy.typing import NDArray

from virtualobserver.conventions import ARCSEC_PER_DEGREE
from virtualobserver.data.plain import finite
from virtualobserver.data.product import Missing, Raw, Target
from virtualobserver.errors import InvalidFile
from virtualobserver.io.listing import stamps, walk
from virtualobserver.maths.astrometry.motion import move_linear
from virtualobserver.maths.astrometry.positions import group_positions, normal_name
from virtualobserver.maths.astrometry.sphere import separation
from virtualobserver.observatories.harps import tree
from virtualobserver.observatories.harps.header import Facts
from virtualobserver.observatories.harps.index import HeaderIndex
from virtualobserver.observatories.harps.names import component_of
from virtualobserver.observatories.harps.packed import SUFFIXES, stem_of
from virtualobserver.observatories.harps.settings import HARPSSettings
from virtualobserver.observatory import Landed
from virtualobserver.typing import Record, RecordDict

__all__ = ["Entry", "FolderArchive", "catalogue_of"]

_DRS: Final = re.compile(
    r"_(s1d|s2d|e2ds|ccf|bis|wave|blaze|flat|lamp|tim|drift|tell)(_[a-z0-9]+)*_([ab])$", re.IGNORECASE
)
"""How names of DRS products end, old and new: what it is, a mask or a variant, the fibre."""
_RANKS: Final = {("s1d", False): 0, ("s1d", True): 1, ("s2d", False): 2, ("s2d", True): 3, ("e2ds", False): 4}
"""Which products of an exposure are better than others, by kind and by whether they are a variant of it."""
_SLACK: Final = 0.5  # arcsec/yr that a star may move if nothing is known of it


@dataclass(frozen=True)
class Entry:
    """A file of the archive: what its header says, or why it cannot be read."""

    path: Path
    facts: Facts | None
    error: str = ""


class FolderArchive:
    """The files of one or several folders; headers are read once, and kept in `cache` for the next time.

    Raises
    ------
    InvalidFile
        If a folder is not there.
    """

    def __init__(self, folders: Sequence[Path], cache: Path | None = None) -> None:
        index = HeaderIndex(folders, cache)
        self._entries: list[Entry] = []
        self._trees: dict[str, Path] = {}
        for folder in folders:
            if not folder.is_dir():
                msg = f"archive folder {folder} does not exist; check the setting archive"
                raise InvalidFile(msg)
            self._list(folder, index)
        index.save()
        known = [e for e in self._entries if e.facts is not None]
        self._known = known
        facts = [e.facts for e in known if e.facts is not None]
        self._ra, self._dec, self._year, self._pmra, self._pmdec = (
            np.array([getattr(f, name) for f in facts], dtype=np.float64)
            for name in ("ra", "dec", "year", "pmra", "pmdec")
        )
        self._by_dec = np.argsort(self._dec)
        self._groups = group_positions(
            self._ra, self._dec, years=self._year, pmra=self._pmra, pmdec=self._pmdec
        )
        self._objects = [f.object for f in facts]
        self._told = False

    def _list(self, folder: Path, index: HeaderIndex) -> None:
        for here, directories, names in walk(folder):
            if tree.is_star(here):
                self._trees.setdefault(normal_name(here.name), here)
                directories.clear()
                continue
            self._entries += [_entry(here / name, index) for name in _spectra(names)]

    @property
    def unreadable(self) -> Sequence[Entry]:
        """Files whose header cannot be read, so that nobody knows whose they are."""
        return [entry for entry in self._entries if entry.facts is None]

    @property
    def facts(self) -> Sequence[Facts]:
        """What the readable headers say."""
        return [entry.facts for entry in self._known if entry.facts is not None]

    def fetch(self, target: Target, settings: HARPSSettings) -> Iterator[Landed]:
        """Yield the files of a target, or why there are none."""
        self._tell()
        found = [*self._found(target, settings)]
        yield from ((target, raw) for raw in found)
        if not found:
            yield target, Missing(self._why(target))

    def _why(self, target: Target) -> str:
        if not self._known and not self.unreadable:
            return "the archive folder holds no spectra (.fits, .fit, also packed as .gz or .fz)"
        lost = len(self.unreadable)
        more = f"; {lost} files of the folder cannot be read, `-v` names them" if lost else ""
        if target.ra is None or target.dec is None:
            return f"it has no position, and spectra are found by theirs{more}"
        return f"no spectrum of the archive folder lies within radius of its position{more}"

    def _found(self, target: Target, settings: HARPSSettings) -> Iterator[Raw]:
        if (star := self._star(target)) is not None:
            yield from tree.raws(star)
        for entry in self._entries_of(target, settings.radius):
            yield _raw(entry)

    def listing(self, target: Target, settings: HARPSSettings) -> dict[str, str]:
        """Return the files of a target with their stamps."""
        star = self._star(target)
        parts = [raw.path for raw in tree.raws(star) if raw.path is not None] if star is not None else []
        return stamps([*parts, *(entry.path for entry in self._entries_of(target, settings.radius))])

    def _entries_of(self, target: Target, radius: float) -> Iterator[Entry]:
        for number in self._rows(target, radius):
            yield self._known[number]
        names = {normal_name(name) for name in (target.name, *target.aliases)}
        for entry in self.unreadable:
            if names & {normal_name(entry.path.parent.name), normal_name(entry.path.name.split(".")[0])}:
                yield entry

    def _tell(self) -> None:
        if self._told:
            return
        self._told = True
        for entry in self.unreadable:
            structlog.get_logger(__name__).warning("file left out", path=str(entry.path), why=entry.error)

    def _star(self, target: Target) -> Path | None:
        names = [normal_name(name) for name in (target.name, *target.aliases)]
        return next((self._trees[name] for name in names if name in self._trees), None)

    def _rows(self, target: Target, radius: float) -> list[int]:
        """Return which files are of a target: the object nearest to it, in all the names it goes by."""
        if not self._known or target.ra is None or target.dec is None:
            return []
        rows = self._candidates(target, radius)
        away, limit = self._away(target, radius, rows)
        near, distance = rows[away < limit], away[away < limit]
        if not near.size:
            return []
        names = [target.name, *target.aliases]
        wanted = {normal_name(name) for name in names}
        groups = np.unique(self._groups[near])
        named = [
            g
            for g in groups
            if any(normal_name(self._objects[n]) in wanted for n in near if self._groups[n] == g)
        ]
        nearest = self._groups[near[np.argmin(distance)]]
        chosen = set(named or [nearest])
        members: list[int] = np.flatnonzero(np.isin(self._groups, list(chosen))).tolist()
        part = {component_of(name, [*self._objects, *names]) for name in names} - {""}
        if part:
            # a close pair is one object by position: names tell its components apart
            members = [
                n for n in members if component_of(self._objects[n], [*self._objects, *names]) in {"", *part}
            ]
        return members

    def _candidates(self, target: Target, radius: float) -> NDArray[np.intp]:
        """Return which files have a declination that the target can have had: few of many, found at once."""
        assert target.dec is not None
        moves = target.pmra is not None and target.pmdec is not None
        rate = np.hypot(target.pmra or 0.0, target.pmdec or 0.0) / 1000 if moves else _SLACK
        span = np.abs(np.nan_to_num(self._year - target.epoch)).max(initial=0.0)
        reach = (radius + rate * span) / 3600 * 1.01  # a little more, for proper motion is no straight line
        first, last = np.searchsorted(self._dec[self._by_dec], [target.dec - reach, target.dec + reach])
        return np.sort(self._by_dec[first:last])

    def _away(
        self, target: Target, radius: float, rows: NDArray[np.intp]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return distance and largest distance (arcsec) of files, each at its own date."""
        years = np.nan_to_num(self._year[rows] - target.epoch)
        moves = target.pmra is not None and target.pmdec is not None
        pm = (target.pmra or 0.0, target.pmdec or 0.0)
        n = len(years)
        ra, dec = move_linear(
            np.full(n, target.ra), np.full(n, target.dec), np.full(n, pm[0]), np.full(n, pm[1]), years
        )
        away = separation(self._ra[rows], self._dec[rows], ra, dec) * ARCSEC_PER_DEGREE
        limit = np.full(n, radius) if moves else radius + _SLACK * np.abs(years)
        return np.where(np.isfinite(away), away, np.inf), limit


def _spectra(names: Sequence[str]) -> list[str]:
    """Return the files of a folder that may be spectra: of the DRS the merged ones of the star's fibre.

    A variant such as ``S1D_SKYSUB_A``, then an ``S2D_A``, last an ``e2ds`` serves where its ``s1d`` is missing.
    """
    found = sorted(name for name in names if name.lower().endswith(SUFFIXES))
    best: dict[str, tuple[int, str]] = {}
    kept = []
    for name in found:
        part = _DRS.search(stem_of(name))
        if part is None:
            kept.append(name)
            continue
        kind, variant, fibre = part[1].lower(), (part[2] or "").lower(), part[3].lower()
        rank = _RANKS.get((kind, bool(variant)))
        if rank is None or fibre != "a" or "blaze" in variant:
            continue
        exposure = stem_of(name)[: part.start()].lower()
        best[exposure] = min(best.get(exposure, (rank, name)), (rank, name))
    return sorted([*kept, *(name for _, name in best.values())])


def _entry(path: Path, index: HeaderIndex) -> Entry:
    try:
        return Entry(path, index.facts(path))
    except (InvalidFile, OSError) as error:
        return Entry(path, None, str(error))


_FIBRES: Final = {"HARPS": (115_000.0, 1.0), "EGGS": (80_000.0, 1.4)}
"""Resolving power, and arcsec on the sky, by fibre (ESO, HARPS user manual, section 2)."""


def _fibre(facts: Facts) -> RecordDict:
    """Return resolving power and field of a spectrum of HARPS; of another instrument they are not known here."""
    if facts.instrument != "HARPS":
        return {}
    power, width = _FIBRES["EGGS" if facts.mode.upper() == "EGGS" else "HARPS"]
    return {"em_res_power": power, "s_fov": width / ARCSEC_PER_DEGREE}


def _raw(entry: Entry) -> Raw:
    facts = entry.facts
    stem = stem_of(entry.path.name)
    if facts is None:
        header: Record = {"store": "full", "unreadable": entry.error}
        return Raw(stem, "fits", path=entry.path, in_place=True, header=header)
    half = facts.exptime / 2 / 86400 if np.isfinite(facts.exptime) else 0.0
    obscore = {
        "obs_id": stem,
        "obs_collection": facts.instrument,
        "instrument_name": facts.instrument,
        "dataproduct_type": "spectrum",
        "s_ra": facts.ra,
        "s_dec": facts.dec,
        "t_min": facts.mjd - half,
        "t_max": facts.mjd + half,
        "t_exptime": facts.exptime,
        **_fibre(facts),
    }
    header = {
        "store": "full",
        "object": facts.object,
        "instrument": facts.instrument,
        "mode": facts.mode,
        "dpr_type": facts.dpr_type,
        "snr": finite(facts.snr_header),
        "problems": [reason for _, reason in facts.problems],
    }
    return Raw(
        stem, "fits", path=entry.path, in_place=True, header=header,
        obscore={key: finite(value) for key, value in obscore.items()},
    )  # fmt: skip


def catalogue_of(facts: Sequence[Facts]) -> list[RecordDict]:
    """Return a target list made from headers: one row for each object that positions tell apart.

    The name is the commonest OBJECT, the position the median of the pointings carried to J2016.0, the alias
    list every spelling. Lamps, sky and moving objects are left out.

    Returns
    -------
    list of dict
        ``name, ra, dec, epoch, pmra, pmdec, kind, n_spectra, aliases``; unique names.
    """
    stars = [f for f in facts if f.kind == "object" and np.isfinite(f.ra + f.dec)]
    if not stars:
        return []
    ra, dec, year, pmra, pmdec = (
        np.array([getattr(f, name) for f in stars], dtype=np.float64)
        for name in ("ra", "dec", "year", "pmra", "pmdec")
    )
    year = np.where(np.isfinite(year), year, 2016.0)
    number = group_positions(ra, dec, years=year, pmra=pmra, pmdec=pmdec)
    everyone = [f.object for f in stars]
    parts = [component_of(name, everyone) for name in everyone]
    ra16, dec16 = move_linear(ra, dec, pmra, pmdec, 2016.0 - year)
    rows: list[RecordDict] = []
    used: set[str] = set()
    for group in sorted(set(zip(number.tolist(), parts, strict=True))):
        members = [n for n in range(len(stars)) if (number[n], parts[n]) == group]
        spellings = [everyone[n] for n in members]
        names = sorted(set(spellings), key=lambda name: (-spellings.count(name), name))
        name = names[0] or "unnamed"
        while name in used:
            name += "'"
        used.add(name)
        lon = np.rad2deg(np.angle(np.mean(np.exp(1j * np.deg2rad(ra16[members]))))) % 360.0
        rows.append(
            {
                "name": name,
                "ra": float(lon),
                "dec": float(np.median(dec16[members])),
                "epoch": 2016.0,
                "pmra": _median(pmra[members]),
                "pmdec": _median(pmdec[members]),
                "kind": "object",
                "n_spectra": len(members),
                "aliases": "; ".join(names),
            }
        )
    return rows


def _median(values: NDArray[np.float64]) -> float | None:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else None
