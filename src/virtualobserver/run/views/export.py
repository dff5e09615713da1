"""Tables out: detections, light curves, properties, sources, injections."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pandas as pd

from virtualobserver.columns import Column, describe
from virtualobserver.errors import ConfigError
from virtualobserver.io import described as said
from virtualobserver.io.batches import STREAMED, record_batches, schema_of, write_batches
from virtualobserver.io.csv_text import warn_of_csv
from virtualobserver.io.tables import format_to_write, write_any
from virtualobserver.run.views import tables as results
from virtualobserver.typing import Record, RecordDict, Value

if TYPE_CHECKING:
    from virtualobserver.run.opened import Opened

__all__ = ["TABLES", "described", "export", "flat", "table"]

TABLES: Final = ("detections", "lightcurves", "properties", "sources", "injections")
"""What every project can export."""

_LIGHTCURVES: Final = """
    SELECT s.name AS source, t.step, l.role, l.series, l.band, l.simulated, l.n, l.n_good, l.t_min, l.t_max,
      l.flux_unit, l.exptime, l.cadence, l.flux_mean, l.flux_rms, l.flux_mean_robust, l.flux_rms_robust,
      l.flux_min, l.flux_max, l.flux_median, l.snr_min, l.snr_max, l.dsnr_min, l.dsnr_max, l.mag_mean,
      l.mag_brightest,
      l.mag_faintest, l.statistics,
      coalesce(f.damaged, false) OR l.task_id IN (SELECT task_id FROM stale_task) AS stale, l.id
    FROM product l JOIN source s ON s.id = l.source_id JOIN task t ON t.id = l.task_id
    LEFT JOIN file f ON f.id = l.file_id
    JOIN configuration c ON c.step = t.step AND c.digest = t.digest AND c.current
    JOIN project_source m ON m.project_id = c.project_id AND m.source_id = t.source_id
    WHERE c.project_id = :project AND l.kind = 'lightcurve' AND (:simulated OR NOT l.simulated)
    ORDER BY s.name, l.t_min, l.id"""
_PROPERTIES: Final = """
    SELECT s.name AS source, r.analysis, r.simulated, r.props
    FROM properties r JOIN source s ON s.id = r.source_id JOIN task t ON t.id = r.task_id
    JOIN configuration c ON c.step = t.step AND c.digest = t.digest AND c.current
    JOIN project_source m ON m.project_id = c.project_id AND m.source_id = t.source_id
    WHERE c.project_id = :project AND (:simulated OR NOT r.simulated)
    ORDER BY s.name, r.analysis"""
_SOURCES: Final = """
    SELECT s.name, s.kind, s.namespace, s.ra, s.dec, s.epoch, s.pmra, s.pmdec, s.parallax, s.mag, s.mag_error,
      s.mag_band, s.extra, s.id
    FROM source s JOIN membership m ON m.source_id = s.id
    WHERE m.project_id = :project AND (:simulated OR NOT s.simulated) ORDER BY m.number"""
_QUERIES: Final = {"lightcurves": _LIGHTCURVES, "properties": _PROPERTIES, "sources": _SOURCES}


def table(project: Opened, what: str, *, simulated: bool = False) -> pd.DataFrame:
    """Return one table of a project's current configurations; JSON columns and times are text.

    Parameters
    ----------
    what
        One of `TABLES`.
    simulated
        Take in what is simulated. Injections are simulated by nature and are always given when asked for.

    Raises
    ------
    ConfigError
        If there is no such table.
    """
    if what not in TABLES:
        msg = f"project {project.name} has no table {what!r}; it has {', '.join(TABLES)}"
        raise ConfigError(msg)
    return flat(results.sql(project.workspace, *_query(project, what, simulated=simulated), time_limit=0))


def _query(project: Opened, what: str, *, simulated: bool) -> tuple[str, RecordDict]:
    """Return the query of one of `TABLES`, and its values."""
    if what == "detections":
        return results.detections_query(project, simulated=simulated)
    if what == "injections":
        return results.injections_query(project)
    return _QUERIES[what], {"project": project.id, "simulated": simulated}


def export(project: Opened, what: str, path: str | Path, *, simulated: bool = False) -> int:
    """Write one table in the format of the suffix: CSV, Parquet, VOTable, ECSV, FITS or HDF5.

    CSV and Parquet are written while the rows come, so that any number of them fits; the others hold the whole
    table in memory.

    Returns
    -------
    int
        Number of rows.

    Raises
    ------
    ConfigError
        If there is no such table.
    DataError
        If the suffix is unknown.

    Warns
    -----
    LostFact
        If the format cannot hold a fact: CSV no units and descriptions, FITS no letters beyond ASCII.
    """
    target = Path(path)
    kind = format_to_write(target)
    meta = {"project": project.name, "table": what, "simulated": simulated}
    if what in TABLES and kind in STREAMED:
        return _stream(project, what, target, kind, meta)
    frame = table(project, what, simulated=simulated)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_any(frame, target, columns=described(frame, what), meta=meta)
    return len(frame)


def _stream(project: Opened, what: str, path: Path, kind: str, meta: Record) -> int:
    """Write one of `TABLES` while its rows come; return their number."""
    query, values = _query(project, what, simulated=bool(meta["simulated"]))
    units: set[str] = set()
    if what == "lightcurves":
        shared = f"SELECT DISTINCT flux_unit FROM ({query}) q LIMIT 2"  # noqa: S608 - of our own making
        units = set(results.sql(project.workspace, shared, values, time_limit=0)["flux_unit"])
    reader = project.workspace.database.reader()
    with reader.ask(query, values, time_limit=0, json_as_text=True) as answer:
        schema = schema_of(answer.names, answer.kinds)
        columns = _described(answer.names, what, units)
        if kind == "csv":
            warn_of_csv(path, columns, meta)

        def metadata(lengths: Mapping[str, int]) -> Mapping[bytes, bytes]:
            return said.parquet_metadata(said.arrow_kinds(schema, lengths), columns, meta)

        rows = record_batches(schema, answer.kinds, answer.batches)
        return write_batches(path, kind, schema, rows, metadata=metadata)


def described(frame: pd.DataFrame, what: str) -> dict[str, Column]:
    """Return what the columns of an exported table hold.

    Fluxes of light curves have the unit that all rows share; if they do not share one, it is in ``flux_unit``.
    """
    return _described(list(map(str, frame)), what, set(frame["flux_unit"]) if "flux_unit" in frame else set())


def _described(names: Sequence[str], what: str, units: set[str]) -> dict[str, Column]:
    unit = next(iter(units)) if len(units) == 1 else ""
    return {
        name: describe(
            name, table=what, unit=unit if unit and name.startswith("flux_") and name != "flux_unit" else None
        )
        for name in names
    }


def flat(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a copy in which JSON is text and times are ISO 8601 text (UTC), for every table format."""
    result = frame.copy()
    for name in result:
        column = result[name]
        if isinstance(column.dtype, pd.DatetimeTZDtype) or column.dtype.kind == "M":
            result[name] = pd.Series([None if pd.isna(t) else t.isoformat() for t in column], dtype=object)
        elif column.dtype == object:
            result[name] = pd.Series([_text(value) for value in column], dtype=object)
    return result


def _text(value: object) -> Value:
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True, default=str)
    if value is None or isinstance(value, str):
        return value
    return None if value is pd.NaT or value is pd.NA else str(value)
