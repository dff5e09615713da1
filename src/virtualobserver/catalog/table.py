"""The catalogue itself: a checked table of targets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.catalog.columns import (
    BETWEEN,
    check_epochs,
    check_extra,
    check_kinds,
    check_numbers,
    check_positions,
    clean_frame,
    default_epoch,
    from_zero,
    gaia_release,
    map_columns,
    namespace_of,
    native,
    possible,
    read_names,
    tell_values,
)
from virtualobserver.catalog.select import evaluate
from virtualobserver.catalog.units import epoch_said, in_our_units
from virtualobserver.columns import out_of_range
from virtualobserver.config.quantities import plain_row
from virtualobserver.conventions import ARCSEC_PER_DEGREE
from virtualobserver.data.product import Target
from virtualobserver.errors import CatalogError
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.astrometry.motion import move
from virtualobserver.maths.astrometry.skyargs import takes_sky
from virtualobserver.typing import Record, RecordDict

if TYPE_CHECKING:
    import pandas as pd
    from scipy.spatial import cKDTree

__all__ = ["Catalog"]

_FIRST_YEAR, _LAST_YEAR = 1800.0, 2200.0  # as for the setting catalog.epoch
_DEFAULT_EPOCH = 2000.0
"""Julian year; what catalogues mean that name no epoch."""
_NUMBERS = ("pmra", "pmdec", "parallax", "mag", "mag_error")


@dataclass(frozen=True, eq=False)
class Catalog:
    """A list of targets.

    Parameters
    ----------
    frame
        The table, with whatever columns it has.
    name
        Name of the catalogue.
    columns
        Which column holds ``name, ra, dec, pmra, pmdec, parallax, radial_velocity, mag, mag_error, mag_band,
        alias, kind, epoch``; what is left out is recognised by its usual names. Positions are ICRS degrees,
        proper motions mas/yr (in right ascension times cos(dec)), parallaxes mas, radial velocities km/s, unless
        ``frame.attrs["units"]`` or the end of a name (``ra_rad``) says otherwise: then they are converted.
        Positions may be sexagesimal text. Values that cannot be are missing and counted in `out_of_range`.
    namespace
        Authority of the names: by default ``gaia_dr3`` for Gaia's numbers, else the name of the catalogue.
    epoch
        Julian year of the positions; by default the column ``ref_epoch``, 2016.0 for names of Gaia DR3 (2015.5
        for DR2), else 2000.0, which is refused for targets that move.
    origin
        Where the table comes from: path, address or query.
    kind, mag_band
        What the rows are, and the band of their magnitudes, where no column says so.
    extra
        Further columns that each `Target` takes along in its ``extra``.

    Raises
    ------
    CatalogError
        If a column is missing, a position out of range, or a name empty or there twice; the message names
        rows, counted from 1. Also if a target has a proper motion and nothing says from which year on.
    """

    frame: pd.DataFrame
    name: str = "catalog"
    columns: Mapping[str, str] = field(default_factory=dict)
    namespace: str = ""
    epoch: float | None = None
    origin: str = ""
    kind: str = "object"
    mag_band: str = ""
    extra: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        frame = clean_frame(self.frame, self.name)
        columns = map_columns(frame, self.columns, self.name)
        check_extra(frame, self.extra, self.name)
        check_numbers(frame, columns, self.name)
        if not check_kinds(frame, columns, self.columns, self.name):
            columns.pop("kind", None)
        frame = in_our_units(frame, columns, self.name)
        object.__setattr__(self, "frame", frame)
        object.__setattr__(self, "columns", columns)
        names, authority = read_names(frame[columns["name"]], self.name)
        namespace = self.namespace or authority or namespace_of(frame, columns, names) or self.name
        object.__setattr__(self, "namespace", namespace)
        object.__setattr__(self, "_names", names)
        ra = from_zero(self._numbers("ra"), self.name)
        check_positions(ra, self.dec, self.name)
        tell_values({name: self._plain(name) for name in _NUMBERS if name in self.columns}, self.name)
        object.__setattr__(self, "_ra", ra % 360.0)
        object.__setattr__(self, "_epochs", self._read_epochs())

    @classmethod
    def from_rows(cls, rows: Sequence[Record], **fields: Any) -> Self:
        """Build from rows: mappings with at least ``name``, ``ra`` and ``dec``.

        Values may be quantities, ``ra`` a `SkyCoord` that stands for both, ``epoch`` a `Time`.

        Raises
        ------
        ConfigError
            If a quantity has a unit of another kind, or a position is not one.
        """
        import pandas as pd

        return cls(pd.DataFrame([plain_row(row) for row in rows]), **fields)

    @classmethod
    def make_test(cls, n: int = 10, seed: int = 0) -> Self:
        """Make up `n` targets all over the sky, with magnitudes 15 to 20 in R, I or V."""
        import pandas as pd

        rng = np.random.default_rng(seed)
        ra = rng.uniform(0, 360, n)
        dec = np.rad2deg(np.arcsin(rng.uniform(-1, 1, n)))
        frame = pd.DataFrame(
            {
                "name": [f"T{number:06d}" for number in range(n)],
                "ra": ra,
                "dec": dec,
                "mag": rng.uniform(15, 20, n),
                "mag_error": rng.uniform(0.1, 0.5, n),
                "mag_band": rng.choice(["R", "I", "V"], n),
            }
        )
        return cls(frame, name="test", origin=f"made up, seed {seed}")

    def __len__(self) -> int:
        return len(self.frame)

    def __iter__(self) -> Iterator[Target]:
        return iter(self.targets())

    def __getitem__(self, which: int | str) -> Target:
        """Return one target by number (from 0, negative from the end) or by name."""
        if isinstance(which, str):
            found = self._number_of.get(which)
            if found is None:
                msg = f"the catalogue {self.name} has no target {which!r}"
                raise KeyError(msg)
            return self._rows([found]).targets()[0]
        return self._rows([range(len(self))[which]]).targets()[0]

    @property
    def names(self) -> NDArray[np.object_]:
        """Names as text, shape (n,)."""
        names: NDArray[np.object_] = self.__dict__["_names"]
        return names

    @property
    def ra(self) -> NDArray[np.float64]:
        """Right ascension in degrees (ICRS) at `epochs`, shape (n,), 0 ≤ ra < 360."""
        ra: NDArray[np.float64] = self.__dict__["_ra"]
        return ra

    @property
    def dec(self) -> NDArray[np.float64]:
        """Declination in degrees (ICRS) at `epochs`, shape (n,)."""
        return self._numbers("dec")

    @property
    def epochs(self) -> NDArray[np.float64]:
        """Julian year of each position, shape (n,)."""
        epochs: NDArray[np.float64] = self.__dict__["_epochs"]
        return epochs

    def _read_epochs(self) -> NDArray[np.float64]:
        """Return the Julian year of each row: as given, by its column, or as its authority has it.

        A star of 1 arcsec a year is 16 arcsec off if its year is guessed wrong by those of Gaia and J2000.
        """
        if self.epoch is not None:
            return np.full(len(self), float(self.epoch))
        said = self._numbers("epoch")
        if "epoch" in self.columns:
            check_epochs(self.frame[self.columns["epoch"]], self._place)
        epochs = np.where(np.isfinite(said), said, self._usual_epochs())
        moves = np.nan_to_num(self._numbers("pmra")) != 0
        moves |= np.nan_to_num(self._numbers("pmdec")) != 0
        if (unknown := moves & np.isnan(epochs)).any():
            raise CatalogError(self._no_epoch(unknown))
        return np.where(np.isnan(epochs), _DEFAULT_EPOCH, epochs)

    def _usual_epochs(self) -> NDArray[np.float64]:
        """Return the year that names or columns of positions tell, else NaN."""
        known = epoch_said(self.frame, self.columns["ra"]) or default_epoch(self.namespace, self.columns)
        if known is not None:
            return np.full(len(self), known)
        releases = [gaia_release(name) for name in self.names]
        years = {release: default_epoch(release) for release in set(releases)}
        return np.array([years[release] for release in releases], dtype=np.float64)  # None becomes NaN

    def _no_epoch(self, rows: NDArray[np.bool_]) -> str:
        numbers = np.flatnonzero(rows) + 1
        shown = ", ".join(map(str, numbers[:5])) + (
            f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
        )
        column = self.columns.get("epoch")
        where = f"nothing in the column {column!r}" if column else "no column ref_epoch"
        return (
            f"the catalogue {self._place} has targets with a proper motion and {where} says of which year their "
            f"positions are: row{'s' if len(numbers) > 1 else ''} {shown}; fill it in, or give catalog.epoch (2016.0 "
            "for Gaia DR3, 2015.5 for DR2, 2000.0 for positions that were carried to J2000)"
        )

    @property
    def _place(self) -> str:
        """What messages call the catalogue: its name, and its file if that says more."""
        return (
            self.name if self.origin in {"", "configuration", self.name} else f"{self.name} ({self.origin})"
        )

    @cached_property
    def out_of_range(self) -> dict[str, int]:
        """How many values of each column cannot be (a magnitude of 99) and count as missing, by our names."""
        found = {
            name: int(
                out_of_range(name, self.frame[column].to_numpy(dtype=np.float64, na_value=np.nan)).sum()
            )
            for name, column in self.columns.items()
            if self.frame[column].dtype.kind in "iuf" and name not in {"ra", "dec"}
        }
        return {name: number for name, number in found.items() if number}

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of the content: the same table read from another file format has the same."""
        import pandas as pd

        said = repr(
            (
                sorted(self.columns.items()),
                self.namespace,
                self.epoch or sorted(set(self.epochs.tolist())),
                self.kind,
                self.mag_band,
                self.extra,
            )
        )
        digest = hashlib.sha256(said.encode())
        for name in sorted(str(name) for name in self.frame):
            digest.update(name.encode() + b"\0")
            digest.update(pd.util.hash_pandas_object(self.frame[name], index=False).to_numpy().tobytes())
        return digest.hexdigest()

    def where(self, condition: str) -> Self:
        """Return the rows that meet a condition on any column, e.g. ``mag < 15 and dec > -30``.

        The standard names (``mag``) mean the mapped columns, all others the columns of the table.

        Raises
        ------
        CatalogError
            If the condition cannot be read or names an unknown column.
        """
        values = {str(name): self.frame[name].to_numpy() for name in self.frame}
        values |= {name: self.frame[column].to_numpy() for name, column in self.columns.items()}
        values |= {"ra": self.ra, "dec": self.dec, "name": self.names}
        return self._rows(np.flatnonzero(evaluate(condition, values)))

    @takes_sky()
    def within(self, ra: float, dec: float, radius: float) -> Self:
        """Return the rows within `radius` of a position, all in degrees."""
        away = _unit_vectors(self.ra, self.dec) - _unit_vectors(np.array([ra]), np.array([dec]))
        chord = 2 * np.sin(np.deg2rad(radius) / 2)
        return self._rows(np.flatnonzero(np.linalg.norm(away, axis=1) <= chord * (1 + 1e-12)))

    def take(self, chosen: ArrayLike) -> Self:
        """Return the rows for which a boolean mask of shape (n,) is true."""
        return self._rows(np.flatnonzero(np.asarray(chosen, dtype=bool)))

    def limit(self, n: int) -> Self:
        """Return the first `n` rows."""
        return self._rows(np.arange(min(n, len(self))))

    def parts(self, size: int) -> Iterator[Self]:
        """Yield the rows in parts of at most `size`, in their order: all targets at once take a kilobyte each."""
        for start in range(0, len(self), size):
            yield self._rows(np.arange(start, min(start + size, len(self))))

    def sample(self, n: int, *, seed: int = 0) -> Self:
        """Return `n` rows drawn at random (all, if there are fewer), in their old order."""
        rng = np.random.default_rng(seed)
        return self._rows(np.sort(rng.permutation(len(self))[:n]))

    def at_epoch(self, jyear: float) -> Self:
        """Return the catalogue with positions and proper motions at another Julian year.

        Rows without proper motion stay where they are and are marked in a column ``pm_missing``. A parallax
        that is missing, zero or negative is never turned into a distance. See
        `virtualobserver.maths.astrometry.motion.move`.
        """
        numbers = {name: self._numbers(name) for name in ("pmra", "pmdec", "parallax", "radial_velocity")}
        moved = move(self.ra, self.dec, epochs=self.epochs, to=jyear, **numbers)
        frame = self.frame.copy()
        for name, values in moved.items():
            if name in ("ra", "dec", "pm_missing") or name in self.columns:
                frame[self.columns.get(name, name)] = values
        columns = {name: column for name, column in self.columns.items() if name != "epoch"}
        if "epoch" in self.columns:
            frame[self.columns["epoch"]] = jyear
        return replace(self, frame=frame, columns=columns, epoch=jyear)

    @takes_sky(radius="arcsec")
    def nearest(self, ra: float, dec: float, radius: float = 2.0) -> Target | None:
        """Return the target nearest to a position (deg), or None if none lies within `radius` (arcsec).

        Quantities are taken as well, and a `SkyCoord` in the place of ``ra`` and ``dec``.
        """
        if not len(self):
            return None
        chord = 2 * np.sin(np.deg2rad(radius / ARCSEC_PER_DEGREE) / 2)
        distance, number = self._tree.query(_unit_vectors(np.array([ra]), np.array([dec]))[0])
        return self[int(number)] if distance <= chord * (1 + 1e-9) else None

    def targets(self) -> list[Target]:
        """Return all rows as targets, each with its `extra` columns that are not empty."""
        numbers = {name: _or_none(self._numbers(name)) for name in _NUMBERS}
        texts = {name: self._texts(name, default) for name, default in self._text_defaults.items()}
        prefix = "Gaia DR3 " if self.namespace == "gaia_dr3" else ""
        return [
            Target(
                name=name,
                ra=ra,
                dec=dec,
                epoch=epoch,
                pmra=pmra,
                pmdec=pmdec,
                parallax=parallax,
                mag=mag,
                mag_error=mag_error,
                mag_band=band,
                kind=kind,
                namespace=self.namespace,
                aliases=tuple(other for other in (prefix and prefix + name, *_split(alias)) if other),
                extra=extra,
            )
            for name, ra, dec, epoch, pmra, pmdec, parallax, mag, mag_error, band, kind, alias, extra in zip(
                self.names.tolist(),
                self.ra.tolist(),
                self.dec.tolist(),
                self.epochs.tolist(),
                *(numbers[key] for key in _NUMBERS),
                *(texts[key] for key in ("mag_band", "kind", "alias")),
                self._extras(),
                strict=True,
            )
        ]

    def to_pandas(self) -> pd.DataFrame:
        """Return the table with all its columns."""
        return self.frame.copy()

    def _repr_html_(self) -> str:
        return f"<p>{escape(self.name)}: {len(self)} targets</p>" + str(self.frame.head(20).to_html())

    @cached_property
    def _number_of(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.names)}

    @cached_property
    def _tree(self) -> cKDTree:
        from scipy.spatial import cKDTree

        return cKDTree(_unit_vectors(self.ra, self.dec))

    @property
    def _text_defaults(self) -> dict[str, str]:
        gaia_band = "G" if self.columns.get("mag", "").startswith("phot_g") else ""
        return {"mag_band": self.mag_band or gaia_band, "kind": self.kind, "alias": ""}

    def _numbers(self, name: str) -> NDArray[np.float64]:
        values = self._plain(name)
        return values if name in {"ra", "dec"} else possible(name, values)

    def _plain(self, name: str) -> NDArray[np.float64]:
        column = self.columns.get(name)
        if column is None:
            return np.full(len(self), np.nan)
        try:
            values = np.asarray(self.frame[column].to_numpy(dtype=np.float64, na_value=np.nan))
        except (TypeError, ValueError) as error:
            msg = f"the column {column!r} of catalogue {self.name} should hold numbers ({name}): {error}"
            raise CatalogError(msg) from error
        return values

    def _texts(self, name: str, default: str) -> list[str]:
        column = self.columns.get(name)
        if column is None:
            return [default] * len(self)
        return [default if value is None else str(value) for value in native(self.frame[column])]

    def _extras(self) -> list[RecordDict]:
        extras: list[RecordDict] = [{} for _ in range(len(self))]
        for name in self.extra:
            for extra, value in zip(extras, native(self.frame[name]), strict=True):
                if value is not None:
                    extra[name] = value
        return extras

    def _rows(self, numbers: Array | slice | list[int]) -> Self:
        return replace(self, frame=self.frame.iloc[numbers])


def _unit_vectors(ra: NDArray[np.float64], dec: NDArray[np.float64]) -> NDArray[np.float64]:
    a, d = np.deg2rad(ra), np.deg2rad(dec)
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=-1)


def _split(alias: str) -> list[str]:
    return [name.strip() for name in alias.split(BETWEEN)]


def _or_none(values: NDArray[np.float64]) -> list[float | None]:
    return [value if good else None for value, good in zip(values.tolist(), np.isfinite(values), strict=True)]
