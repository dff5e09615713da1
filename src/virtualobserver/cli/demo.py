"""The command ``vo demo``: a whole search on simulated stars, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from virtualobserver.cli.show import Format, open_project, print_frame
from virtualobserver.cli.work import Data, Workers, run_project

if TYPE_CHECKING:
    import pandas as pd

    from virtualobserver.run.project import Project

__all__ = ["compare", "register"]

_INJECTED = """
    SELECT s.name AS source, e.value->>'kind' AS kind, (e.value->>'t_peak')::float8 AS peak_mjd,
      (e.value->>'start_mjd')::float8 AS start_mjd, (e.value->>'end_mjd')::float8 AS end_mjd,
      (e.value->>'amplitude')::float8 AS amplitude
    FROM configuration c JOIN task t ON t.step = c.step AND t.digest = c.digest
    JOIN project_source m ON m.project_id = c.project_id AND m.source_id = t.source_id
    JOIN source_raw r ON r.task_id = t.id JOIN raw_data d ON d.id = r.raw_data_id
    JOIN source s ON s.id = t.source_id
    CROSS JOIN LATERAL jsonb_array_elements(d.header->'injected') e
    WHERE c.project_id = :project AND c.current AND d.header ? 'injected' ORDER BY s.name, peak_mjd"""


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("demo")(demo)


def demo(workers: Workers = None, data: Data = None) -> None:
    """Run a search on simulated stars, offline, and tell what was found and what was missed."""
    changes = [f"run.workers={workers}"] if workers else []
    with open_project("demo", data=data, overrides=changes) as project:
        typer.echo("A search for flares and dips in simulated light curves.\n")
        summary, seconds = run_project(project)
        found = project.detections(simulated=True)
        found = found[found["injection_id"].isna()]
        injected = project.sql(_INJECTED, project=project.id)
        _tell(injected, found)
        efficiency = project.efficiency()
        if not efficiency.empty:
            typer.echo("\nInjection and recovery: of events put into these light curves, the search finds")
            print_frame(efficiency, Format.table)
        done = (
            f"{summary.worked} tasks" if summary.worked else "nothing to do, since all of it was done before"
        )
        typer.echo(
            f"{len(project.sources)} stars in {seconds:.1f} s ({done}); data in {project.workspace.root}"
        )
        _next_commands(project, found)
    if summary.failed:
        for failure in summary.failures:
            typer.echo(
                f"failed: {failure['source']}, {failure['step']}: {failure['error']} (task {failure['task']})"
            )
        raise typer.Exit(1)


def compare(injected: pd.DataFrame, found: pd.DataFrame) -> tuple[list[bool], int]:
    """Match injected events with detections of the same source that overlap them in time.

    Returns
    -------
    list of bool, int
        For each injected event whether it was found, and the number of detections that match none.
    """
    spans: dict[str, list[tuple[int, float, float]]] = {}
    columns = (injected[name] for name in ("source", "start_mjd", "end_mjd"))
    for number, (source, start, end) in enumerate(zip(*columns, strict=True)):
        spans.setdefault(source, []).append((number, start, end))
    hit: set[int] = set()
    surplus = 0
    columns = (found[name] for name in ("source", "start_mjd", "end_mjd"))
    for source, start, end in zip(*columns, strict=True):
        matches = [number for number, first, last in spans.get(source, ()) if first <= end and start <= last]
        hit.update(matches)
        surplus += not matches
    return [number in hit for number in range(len(injected))], surplus


def _tell(injected: pd.DataFrame, found: pd.DataFrame) -> None:
    hits, surplus = compare(injected, found)
    typer.echo(f"\nPut in: {len(injected)} events. Found: {sum(hits)}. Missed: {len(hits) - sum(hits)}.")
    for kind in sorted(set(injected["kind"])):
        those = [hit for hit, this in zip(hits, injected["kind"], strict=True) if this == kind]
        typer.echo(f"  {kind + ':':<7} {sum(those)} of {len(those)} found")
    typer.echo(f"Detections that belong to none of them: {surplus}.")
    if not found.empty:
        strongest = found.reindex(found["snr"].abs().sort_values(ascending=False).index).head(5)
        print_frame(
            strongest,
            Format.table,
            columns=["id", "source", "kind", "band", "peak_mjd", "snr"],
            title="The strongest",
        )
    missed = injected[[not hit for hit in hits]].head(5)
    if not missed.empty:
        print_frame(
            missed,
            Format.table,
            columns=["source", "kind", "peak_mjd", "amplitude"],
            title="Missed, the first few",
        )


def _next_commands(project: Project, found: pd.DataFrame) -> None:
    number = "1" if found.empty else str(found.iloc[0]["id"])
    name = project.sources[0].name
    lines = (
        ("vo detections demo --simulated", "all detections; what is simulated is shown only when asked for"),
        (f"vo plot demo --detection {number} --out event.png", "a picture of one"),
        (f"vo plot demo {name} --out star.png", "a whole light curve"),
        (
            'vo sql "SELECT kind, count(*), max(snr) FROM detection GROUP BY kind"',
            "any question to the database",
        ),
        (
            "vo run demo --set analyses.transients.snr_threshold=6",
            "another threshold: only the search runs again",
        ),
        ("vo export demo detections --simulated --out events.vot", "for TOPCAT"),
        ("vo new project flares", "a configuration of your own"),
    )
    typer.echo("\nWhat to try next:")
    for command, meaning in lines:
        typer.echo(f"  {command}\n      {meaning}")
