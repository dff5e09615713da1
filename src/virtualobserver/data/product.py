"""What surveys exchange with the framework: targets, raw data, products."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic

from virtualobserver.data.handles import C_co, Handle
from virtualobserver.errors import BadKeyword
from virtualobserver.maths.astrometry.motion import move_linear
from virtualobserver.typing import Record

__all__ = ["Aux", "Known", "Missing", "Product", "Raw", "RawRef", "Target"]


@dataclass(frozen=True)
class Target:
    """One thing to look at: a star, a field, a camera.

    Positions are ICRS degrees at `epoch` (Julian year); proper motions are mas/yr, the one in right
    ascension times cos(dec); parallax is mas. ``extra`` holds the catalogue columns the project keeps.
    """

    name: str
    ra: float | None = None
    dec: float | None = None
    epoch: float = 2000.0
    pmra: float | None = None
    pmdec: float | None = None
    parallax: float | None = None
    mag: float | None = None
    mag_error: float | None = None
    mag_band: str = ""
    aliases: tuple[str, ...] = ()
    kind: str = "object"
    namespace: str = ""
    extra: Record = field(default_factory=dict)

    def position_at(self, year: float) -> tuple[float, float]:
        """Return right ascension and declination (deg) in a Julian year; without proper motion it stays.

        Raises
        ------
        BadKeyword
            If it has no position.
        """
        if self.ra is None or self.dec is None or not math.isfinite(self.ra + self.dec):
            msg = f"source {self.name} has no position; give ra and dec in the catalogue"
            raise BadKeyword(msg)
        ra, dec = move_linear(self.ra, self.dec, self.pmra or 0.0, self.pmdec or 0.0, year - self.epoch)
        return float(ra), float(dec)


@dataclass(frozen=True)
class Aux:
    """What a pure step may use besides its inputs, and where it says what it leaves out."""

    target: Target
    masters: Mapping[str, Handle[Any]] = field(default_factory=dict)
    services: Record = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter, compare=False)
    """How many rows, frames or spectra were not used, or used with an assumption, by cause; see `note`."""

    def note(self, cause: str, number: int = 1) -> None:
        """Say that `number` parts of the input are not used as they are, and why.

        Numbers and causes are stored with the task and shown by ``vo status`` and ``vo log``; where nothing is
        left, they are its reason. A cause is what is counted (``"epochs without a time"``) and names no source,
        so that those of many tasks add up.
        """
        if number:
            self.notes[cause] += int(number)


@dataclass(frozen=True)
class Raw:
    """One piece of raw data as an archive gave it.

    Either `content` (bytes; stored together with others in one file) or `path`: a file to move into the
    store, or, with `in_place`, a file of the user's archive that stays where it is.

    Parameters
    ----------
    archive_id
        Identity inside the archive: a file name or product id; for a query, its canonical text.
    format
        ``csv``, ``votable``, ``fits``, ``parquet``, ...
    obscore
        IVOA ObsCore 1.1 columns that are known: ``obs_id``, ``t_min``, ``t_max`` (MJD), ``s_ra``, ``s_dec`` ...
    header
        JSON-like extract: keywords, release, request.
    key
        Part of the file, e.g. one object of a bulk file; empty for all of it.
    owner
        Whose raw data these are, if not the target's: the camera of a calibration frame, a `Target` of kind
        ``instrument``.
    """

    archive_id: str
    format: str
    content: bytes | None = field(default=None, repr=False)
    path: Path | None = None
    in_place: bool = False
    key: str = ""
    obscore: Record = field(default_factory=dict)
    header: Record = field(default_factory=dict)
    owner: Target | None = None


@dataclass(frozen=True)
class Known:
    """Raw data that were stored before, by this or another project: a row, and its file that still stands.

    ``owner`` is that of `Raw`: a survey sets it where these raw data are not the target's.
    """

    archive_id: str
    raw_id: int
    format: str = ""
    header: Record = field(default_factory=dict)
    owner: Target | None = None


@dataclass(frozen=True)
class Missing:
    """The answer of `fetch` that there is nothing for a target.

    Parameters
    ----------
    reason
        Why, in words that name no target, so that those of many add up: ``"not in the objects table"``.
    """

    reason: str


@dataclass(frozen=True)
class RawRef:
    """Raw data as `reduce` receives them: facts, and the bytes when asked for."""

    archive_id: str
    format: str
    read: Callable[[], bytes]
    path: Path | None = None
    key: str = ""
    obscore: Record = field(default_factory=dict)
    header: Record = field(default_factory=dict)
    raw_id: int | None = None
    simulated: bool = False

    @classmethod
    def of(cls, raw: Raw) -> RawRef:
        """Return the reference to raw data that are not stored yet (tests, notebooks)."""

        def read() -> bytes:
            if raw.content is not None:
                return raw.content
            assert raw.path is not None
            return raw.path.read_bytes()

        return cls(raw.archive_id, raw.format, read, raw.path, raw.key, raw.obscore, raw.header)


@dataclass(frozen=True)
class Product(Generic[C_co]):
    """One product of `reduce` or `find`, not stored yet.

    Parameters
    ----------
    data
        `TimeSeries`, `SpectrumSet`, `Image` or `Table`.
    role
        ``reduced``, ``processed``, ``master``, ``mover``, ...
    series
        Name that tells the products of one unit and role apart, e.g. ``2018-06-zg``.
    band
        Filter, or empty.
    target
        Whose product this is, if not the source being worked on.
    statistics
        Summary numbers; those that have a column in the table `product` land there.
    """

    data: C_co
    role: str = "reduced"
    series: str = ""
    band: str = ""
    target: Target | None = None
    statistics: Record = field(default_factory=dict)

    @property
    def container_kind(self) -> str:
        """Kind of the product: lightcurve, spectrum, image or table."""
        return str(self.data.kind)
