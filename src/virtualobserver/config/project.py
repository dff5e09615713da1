"""The settings of a project that belong to no plug-in."""

from __future__ import annotations

import difflib
import os
import tempfile
from pathlib import Path
from typing import Final, Literal, Self

import pydantic

from virtualobserver.config.names import legalise
from virtualobserver.config.quantities import plain_row
from virtualobserver.config.settings import Settings, address, leaves, setting
from virtualobserver.config.yamlfile import dump
from virtualobserver.errors import ConfigError
from virtualobserver.typing import RecordDict, Value

__all__ = [
    "AnalysisSettings",
    "CatalogSettings",
    "ColumnSettings",
    "ConeSettings",
    "ProjectSettings",
    "RegionSettings",
    "RunSettings",
    "SimulateSettings",
]


_ORIGINS: Final = ("file", "named", "rows", "adql", "vizier", "test", "survey")


class ColumnSettings(Settings):
    """Which column of the catalogue holds what; None leaves it to the usual names."""

    name: str | None = setting(None, run_only=True, doc="Name of the object")
    ra: str | None = setting(None, run_only=True, doc="Right ascension, ICRS, degrees")
    dec: str | None = setting(None, run_only=True, doc="Declination, ICRS, degrees")
    pmra: str | None = setting(None, run_only=True, doc="Proper motion in RA times cos(dec), mas/yr")
    pmdec: str | None = setting(None, run_only=True, doc="Proper motion in declination, mas/yr")
    parallax: str | None = setting(None, run_only=True, doc="Parallax, mas")
    radial_velocity: str | None = setting(None, run_only=True, doc="Radial velocity, km/s")
    mag: str | None = setting(None, run_only=True, doc="Magnitude")
    mag_error: str | None = setting(None, run_only=True, doc="Error of the magnitude, mag")
    mag_band: str | None = setting(None, run_only=True, doc="Band of the magnitude")
    alias: str | None = setting(None, run_only=True, doc="Another name of the object")
    kind: str | None = setting(None, run_only=True, doc="What the row is: object, field or instrument")
    epoch: str | None = setting(None, run_only=True, doc="Julian year of the position")
    extra: tuple[str, ...] = setting(
        (), run_only=True, doc="Further columns that surveys and analyses see with each target"
    )

    @property
    def given(self) -> dict[str, str]:
        """The standard names that have a column, and that column; without `extra`."""
        return {key: value for key, value in self if key != "extra" and value is not None}


class ConeSettings(Settings):
    """A circle on the sky."""

    ra: float = setting(run_only=True, unit="deg", ge=0, lt=360, doc="Right ascension of the centre, ICRS")
    dec: float = setting(run_only=True, unit="deg", ge=-90, le=90, doc="Declination of the centre, ICRS")
    radius: float = setting(run_only=True, unit="deg", gt=0, le=180, doc="Radius")

    @pydantic.model_validator(mode="before")
    @classmethod
    def _plain(cls, value: Value) -> Value:
        """Take quantities and a `SkyCoord` from Python."""
        return plain_row(value) if isinstance(value, dict) else value


class RegionSettings(Settings):
    """A part of the sky: what lies in all that is given is taken."""

    moc: Path | None = setting(
        None,
        run_only=True,
        path=True,
        doc="Multi-order coverage map (MOC): FITS, JSON or text file; needs the extra moc",
    )
    polygon: tuple[tuple[float, float], ...] | None = setting(
        None, run_only=True, min_length=3, doc="Corners [ra, dec] in degrees (ICRS), joined by great circles"
    )
    condition: str | tuple[str, ...] | None = setting(
        None, run_only=True, doc="Conditions on columns besides, as `where` has them"
    )


class CatalogSettings(Settings):
    """Which targets to look at. The content of a catalogue is data and enters no digest."""

    name: str | None = setting(
        None,
        run_only=True,
        aliases=("catalog_name", "cat_name"),
        doc="Name of the catalogue; the file's name if not given",
    )
    file: Path | None = setting(
        None,
        run_only=True,
        path=True,
        aliases=("filename", "path"),
        doc="CSV, FITS, HDF5, Parquet, VOTable or ECSV file; a relative path starts at the folder of the "
        "configuration",
    )
    named: str | None = setting(None, run_only=True, doc="A catalogue known by name, downloaded once")
    rows: tuple[RecordDict, ...] | None = setting(None, run_only=True, doc="Targets written out here")
    adql: str | None = setting(None, run_only=True, doc="Query to the Gaia archive")
    cone: ConeSettings | None = setting(
        None, run_only=True, doc="Circle to search: in Gaia, or in the named or VizieR catalogue"
    )
    vizier: str | None = setting(None, run_only=True, doc="Id of a VizieR table: J/MNRAS/508/3877/maincat")
    survey: str | None = setting(
        None,
        run_only=True,
        doc="A survey of this project that can list its archive, live or folder: everything it has is a target",
    )
    gaia_url: str | None = address(
        None, run_only=True, doc="a TAP service with Gaia's tables; unset = ESA's archive"
    )
    vizier_url: str | None = address(
        None, run_only=True, doc="a TAP service with VizieR's tables; unset = CDS's"
    )
    named_url: str | None = address(
        None,
        run_only=True,
        doc="the folder with the file of the named catalogue; unset = where it was published",
    )
    test: int | None = setting(None, run_only=True, ge=1, doc="Number of made-up targets, to try things out")
    columns: ColumnSettings = setting(ColumnSettings(), run_only=True, doc="Names of the columns")
    namespace: str | None = setting(
        None, run_only=True, doc="Authority of the names (gaia_dr3); the catalogue's name if not given"
    )
    kind: str = setting(
        "object", run_only=True, doc="What the rows are, if no column says so: object, field or instrument"
    )
    epoch: float | None = setting(
        None,
        run_only=True,
        unit="yr",
        ge=1800,
        le=2200,
        aliases=("catalog_observation_year",),
        doc="Julian year of the positions; by default the column ref_epoch, 2016.0 for names of Gaia DR3 (2015.5 for "
        "DR2), else 2000.0, which is refused for targets with a proper motion",
    )
    at_epoch: float | None = setting(
        None, run_only=True, unit="yr", ge=1800, le=2200, doc="Julian year to move the positions to"
    )
    mag_band: str | None = setting(None, run_only=True, doc="Band of the magnitudes, if no column says so")
    where: str | RegionSettings | tuple[str, ...] | None = setting(
        None, run_only=True, doc="Condition on any columns, or several that must all hold: mag < 18"
    )
    limit: int | None = setting(None, run_only=True, ge=1, doc="Take only so many rows from the top")
    sample: int | None = setting(None, run_only=True, ge=1, doc="Take so many rows at random")
    seed: int = setting(0, run_only=True, ge=0, doc="Seed of the random sample and of made-up targets")

    @pydantic.field_validator("rows", mode="before")
    @classmethod
    def _plain_rows(cls, value: Value) -> Value:
        """Take quantities and a `SkyCoord` from Python."""
        if not isinstance(value, list | tuple):
            return value
        return tuple(plain_row(row) if isinstance(row, dict) else row for row in value)

    @pydantic.field_validator("where", mode="before")
    @classmethod
    def _region(cls, value: Value) -> Value:
        """Read a region by itself, so that what is wrong with it is said of it and not of all that could stand here."""
        if not isinstance(value, dict):
            return value
        if strange := [str(key) for key in value if key not in RegionSettings.model_fields]:
            near = difflib.get_close_matches(strange[0], RegionSettings.model_fields, 1)
            hint = (
                f"did you mean {near[0]!r}?"
                if near
                else f"valid here: {', '.join(RegionSettings.model_fields)}"
            )
            msg = f"unknown key {strange[0]!r}; {hint}"
            raise ValueError(msg)
        try:
            return RegionSettings(**value)
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            msg = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            raise ValueError(msg) from None

    @pydantic.model_validator(mode="after")
    def _one_origin(self) -> Self:
        given = [key for key in _ORIGINS if getattr(self, key) is not None]
        if len(given) > 1:
            msg = f"take the targets from one place only, not from {' and '.join(given)}"
            raise ValueError(msg)
        if self.cone is not None and given and given[0] not in {"named", "vizier"}:
            msg = f"a cone searches Gaia, a named or a VizieR catalogue; for {given[0]} use `where`"
            raise ValueError(msg)
        return self

    @property
    def origin(self) -> str | None:
        """Where the targets come from: file, named, rows, adql, vizier, test, cone (of Gaia), or None."""
        return next((key for key in (*_ORIGINS, "cone") if getattr(self, key) is not None), None)

    @property
    def conditions(self) -> tuple[str, ...]:
        """The conditions that all rows must meet."""
        said = self.where.condition if isinstance(self.where, RegionSettings) else self.where
        return (said,) if isinstance(said, str) else said or ()

    @property
    def region(self) -> RegionSettings | None:
        """The part of the sky that all rows must lie in."""
        return self.where if isinstance(self.where, RegionSettings) else None


class SimulateSettings(Settings):
    """How many simulated events to put into the data of an analysis."""

    number: int = setting(0, run_only=True, ge=0, doc="Injections per unit; asking for more adds the new")
    seed: int = setting(0, step="simulate", ge=0, doc="Seed of all random numbers")


class AnalysisSettings(Settings):
    """What the settings of every analysis begin with."""

    simulate: SimulateSettings = setting(SimulateSettings(), step="simulate", doc="Injected events")


MOST_WORKERS: Final = 1024
"""More than the cores of any machine; each takes a connection to the database and more than 100 MB."""


class RunSettings(Settings):
    """How to run; changes no result."""

    workers: int | Literal["auto"] = setting(1, run_only=True, doc="Processes here; auto: one per core")
    dask: str | None = setting(None, run_only=True, doc="Address of a Dask scheduler, tcp://host:8786")
    batch: int | None = setting(
        None, run_only=True, ge=1, doc="Tasks handed out at once; by step if not given"
    )
    lease: float = setting(
        60.0,
        run_only=True,
        unit="s",
        gt=0,
        aliases=("lease_seconds",),
        doc="After this a silent worker loses its tasks",
    )
    max_attempts: int = setting(3, run_only=True, ge=1, doc="Dead workers after which a task has failed")
    verbosity: int = setting(1, run_only=True, ge=0, le=3, aliases=("verbose",), doc="0 quiet, 3 everything")

    @pydantic.field_validator("workers")
    @classmethod
    def _at_least_one(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value < 1:
            msg = "should be at least 1, or auto"
            raise ValueError(msg)
        if isinstance(value, int) and value > MOST_WORKERS:
            msg = f"should be at most {MOST_WORKERS} on one machine; a cluster is reached by run.dask"
            raise ValueError(msg)
        return value


class ProjectSettings(Settings):
    """All settings of a project, resolved.

    The sections of surveys and analyses hold objects of the plug-ins' own classes;
    `virtualobserver.config.load` makes them from files and mappings.
    """

    name: str = setting(run_only=True, aliases=("project",), doc="Name: letters, digits, underscores")
    description: str = setting("", run_only=True, doc="What is searched for")
    catalog: CatalogSettings = setting(
        CatalogSettings(), run_only=True, aliases=("catalogue",), doc="The targets to look at"
    )
    observatories: dict[str, pydantic.SerializeAsAny[Settings]] = setting(
        default_factory=dict, doc="Settings of each survey; keys beside the surveys hold for all of them"
    )
    analyses: dict[str, pydantic.SerializeAsAny[Settings]] = setting(
        default_factory=dict, doc="Settings of each analysis; keys beside the analyses hold for all of them"
    )
    run: RunSettings = setting(RunSettings(), run_only=True, doc="How to run")
    keep: dict[str, bool] = setting(
        default_factory=dict, run_only=True, doc="Role of products: false drops files, keeps rows"
    )

    @pydantic.field_validator("name")
    @classmethod
    def _legal_name(cls, value: str) -> str:
        return legalise(value, upper=False)

    @pydantic.field_validator("observatories", "analyses", mode="before")
    @classmethod
    def _resolved_sections(cls, value: Value) -> Value:
        for name, section in dict(value).items():
            if not isinstance(section, Settings):
                msg = f"{name}: should be an object of the plug-in's Settings; config.load makes it"
                raise ValueError(msg)
        return value

    def verify(self) -> None:
        """Check that the project can run.

        Raises
        ------
        ConfigError
            Something is missing; the message lists all of it.
        """
        missing = []
        if self.catalog.origin is None:
            missing.append("catalog: give file, named, rows, adql, cone, vizier or test")
        if not self.observatories:
            missing.append("observatories: name at least one survey")
        if missing:
            msg = f"project {self.name} cannot run: " + "; ".join(missing)
            raise ConfigError(msg)

    def to_dict(self) -> RecordDict:
        """Return all values as plain dictionaries, lists and scalars; shares nothing with the settings."""
        return self.model_dump(mode="json", by_alias=False)

    def save(self, path: str | Path) -> None:
        """Write all values to a YAML file that gives an equal project when loaded.

        Raises
        ------
        ConfigError
            The file cannot be written.
        """
        target = Path(path)
        try:
            with tempfile.NamedTemporaryFile(
                "w", encoding="utf-8", dir=target.parent, prefix=f".{target.name}.", delete=False
            ) as stream:
                stream.write(dump(self.to_dict()))
                stream.flush()
                os.fsync(stream.fileno())
            Path(stream.name).replace(target)
        except OSError as error:
            msg = f"{target}: cannot be written: {error.strerror}"
            raise ConfigError(msg) from error

    def compare(self, other: ProjectSettings) -> dict[str, tuple[Value, Value]]:
        """Return the paths whose values differ, with both values; None where one side has no such path."""
        mine = {".".join(leaf.path): leaf.value for leaf in leaves(self)}
        theirs = {".".join(leaf.path): leaf.value for leaf in leaves(other)}
        paths = dict.fromkeys([*mine, *theirs])
        return {
            path: (mine.get(path), theirs.get(path))
            for path in paths
            if path not in mine or path not in theirs or mine[path] != theirs[path]
        }
