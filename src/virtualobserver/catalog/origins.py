"""From a configuration to a table of targets: files, archives, catalogues known by name, rows."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pydantic

from virtualobserver.catalog.regions import inside
from virtualobserver.catalog.remote import (
    PUBLISHED,
    named,
    query_at,
    query_gaia,
    query_gaia_cone,
    query_vizier,
)
from virtualobserver.catalog.table import Catalog
from virtualobserver.config import CatalogSettings, ConeSettings
from virtualobserver.config.messages import translate
from virtualobserver.config.paths import nearest
from virtualobserver.errors import CatalogError
from virtualobserver.io.tables import read_any, write_any
from virtualobserver.typing import Record, RecordDict

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_catalog"]

_GAIA: Final[RecordDict] = {"namespace": "gaia_dr3", "mag_band": "G"}
_HALF_CHARACTER: Final = re.compile("[\ud800-\udfff]")
_ORIGINS: Final = "file, named, rows, adql, cone, vizier, test"


def read_catalog(
    source: CatalogSettings | str | Path | Sequence[Record],
    *,
    folder: str | Path | None = None,
    cache: str | Path | None = None,
    refresh: bool = False,
    **options: object,
) -> Catalog:
    """Read a catalogue from a file, or as a configuration says.

    Parameters
    ----------
    source
        A path, the section ``catalog`` of a configuration, or rows.
    folder
        Where a relative path starts; the working folder if not given.
    cache
        Folder in which downloaded catalogues, and the answers of archives, are kept.
    refresh
        Ask archives again; catalogues known by name, which never change, are not downloaded again.
    **options
        Settings of `CatalogSettings` that go before those of `source`.

    Raises
    ------
    CatalogError
        If nothing says where the targets come from, or the table cannot be used.
    ConfigError
        If an option is wrong.
    """
    settings = _settings(source, options)
    catalog = _load(settings, folder=folder, cache=cache, refresh=refresh)
    if settings.cone is not None and settings.origin != "cone":
        catalog = catalog.within(settings.cone.ra, settings.cone.dec, settings.cone.radius)
    if settings.region is not None:
        catalog = catalog.take(inside(settings.region, catalog.ra, catalog.dec, folder=folder))
    for condition in settings.conditions:
        catalog = catalog.where(condition)
    if settings.sample is not None:
        catalog = catalog.sample(settings.sample, seed=settings.seed)
    if settings.limit is not None:
        catalog = catalog.limit(settings.limit)
    return catalog if settings.at_epoch is None else catalog.at_epoch(settings.at_epoch)


def _settings(source: CatalogSettings | str | Path | Sequence[Record], options: Record) -> CatalogSettings:
    given: RecordDict
    if isinstance(source, CatalogSettings):
        given = source.model_dump(exclude_unset=True)
    elif isinstance(source, str | Path):
        given = {"file": Path(source)}
    else:
        given = {"rows": tuple(dict(row) for row in source)}
    try:
        return CatalogSettings(**(given | dict(options)))
    except pydantic.ValidationError as error:
        raise translate(error, {}, CatalogSettings, label="catalog") from error


def _load(
    settings: CatalogSettings, *, folder: str | Path | None, cache: str | Path | None, refresh: bool
) -> Catalog:
    frame, name, origin, defaults = _table_of(settings, folder=folder, cache=cache, refresh=refresh)
    known = {"epoch": settings.epoch, "namespace": settings.namespace, "mag_band": settings.mag_band}
    fields = {**defaults, **{key: value for key, value in known.items() if value not in (None, "")}}
    fields["columns"] = {**fields.get("columns", {}), **settings.columns.given}
    fields |= {"name": settings.name or name, "kind": settings.kind, "extra": settings.columns.extra}
    return Catalog(frame, origin=origin, **fields)


def _table_of(
    settings: CatalogSettings,
    *,
    folder: str | Path | None = None,
    cache: str | Path | None = None,
    refresh: bool = False,
) -> tuple[pd.DataFrame, str, str, RecordDict]:
    """Return table, name, origin and known fields of the catalogue that a configuration asks for."""
    if settings.origin is None:
        msg = f"catalog: nothing says where the targets come from; give one of {_ORIGINS}"
        raise CatalogError(msg)
    store = Path("catalogs/cache") if cache is None else Path(cache)
    adql, vizier = str(settings.adql), str(settings.vizier)
    gaia, cds = settings.gaia_url, settings.vizier_url
    loaders: Mapping[str, Callable[[], tuple[pd.DataFrame, str, str, RecordDict]]] = {
        "file": lambda: _from_file(Path(settings.file or ""), folder),
        "named": lambda: _from_name(str(settings.named), store, settings.named_url),
        "adql": lambda: (
            _kept(store, f"gaia {adql}{_at(gaia)}", lambda: query_gaia(adql, query=query_at(gaia)), refresh),
            "gaia",
            adql,
            dict(_GAIA),
        ),
        "cone": lambda: _from_cone(settings.cone, store, refresh, gaia),
        "vizier": lambda: (
            _kept(
                store,
                f"vizier {vizier}{_at(cds)}",
                lambda: query_vizier(vizier, query=query_at(cds)),
                refresh,
            ),
            vizier,
            f"VizieR {vizier}",
            {},
        ),
        "rows": lambda: _from_rows(settings),
        "test": lambda: _made_up(settings),
    }
    return loaders[settings.origin]()


def _from_file(file: Path, folder: str | Path | None) -> tuple[pd.DataFrame, str, str, RecordDict]:
    start = Path(folder) if folder is not None else Path()
    path = start / file.expanduser()
    if not path.is_file():
        msg = (
            f"catalog: {file} is a folder, and a file is needed"
            if path.is_dir()
            else f"catalog: there is no file {file}"
        )
        msg += "" if file.is_absolute() else f"; a relative path starts at {start.resolve()}"
        msg += "" if path.is_dir() else nearest(path)
        raise CatalogError(msg)
    stem = path.name.removesuffix(".gz")
    return read_any(path), Path(stem).stem, str(path), {}


def _from_name(name: str, cache: Path, url: str | None) -> tuple[pd.DataFrame, str, str, RecordDict]:
    frame = named(name, cache=cache, folder_url=url)
    return frame, name, PUBLISHED[name].url, dict(PUBLISHED[name].fields)


def _from_cone(
    cone: ConeSettings | None, cache: Path, refresh: bool, url: str | None
) -> tuple[pd.DataFrame, str, str, RecordDict]:
    assert cone is not None
    origin = f"Gaia DR3 cone {cone.ra} {cone.dec} {cone.radius} deg"
    ask = lambda: query_gaia_cone(cone.ra, cone.dec, cone.radius, query=query_at(url))  # noqa: E731
    frame = _kept(cache, f"{origin}{_at(url)}", ask, refresh)
    return frame, "gaia_cone", origin, dict(_GAIA)


def _kept(cache: Path, question: str, ask: Callable[[], pd.DataFrame], refresh: bool) -> pd.DataFrame:
    """Return the answer to a question from the cache; only whole answers get there."""
    path = cache / f"query-{hashlib.sha256(question.encode()).hexdigest()[:16]}.parquet"
    if path.exists() and not refresh:
        return read_any(path)
    frame = ask()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_any(frame, path)
    # read back, so that the first run sees what all later ones will
    return read_any(path)


def _from_rows(settings: CatalogSettings) -> tuple[pd.DataFrame, str, str, RecordDict]:
    import pandas as pd

    rows = settings.rows or ()
    for number, row in enumerate(rows, 1):
        for key, value in row.items():
            if isinstance(value, str) and (half := _HALF_CHARACTER.search(value)) is not None:
                msg = f"catalog.rows: row {number}: {key} holds {half[0]!a}, which is half of a character"
                raise CatalogError(msg)
    return pd.DataFrame(rows), "targets", "configuration", {}


def _made_up(settings: CatalogSettings) -> tuple[pd.DataFrame, str, str, RecordDict]:
    made = Catalog.make_test(settings.test or 0, settings.seed)
    return made.to_pandas(), made.name, made.origin, {}


def _at(url: str | None) -> str:
    """Return what tells the answers of another server apart from those of the usual one."""
    return f" at {url}" if url else ""
