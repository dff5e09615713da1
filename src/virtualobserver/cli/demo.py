"""The command ``vo demo``: whole searches on simulated data, and what came of them."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from virtualobserver.cli.options import Data, Workers
from virtualobserver.cli.show import Format, called, open_project, print_frame
from virtualobserver.cli.work import run_project
from virtualobserver.conventions import ARCSEC_PER_DEGREE
from virtualobserver.words import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    import pandas as pd

    from virtualobserver.run.project import Project

__all__ = ["compare", "register", "things"]

_SAME_PLACE = 5.0  # arcsec
_INJECTED = """
    SELECT DISTINCT s.name AS source, e.value->>'kind' AS kind,
      (e.value->>'body')::int AS body, (e.value->>'t_peak')::float8 AS peak_mjd,
      (e.value->>'start_mjd')::float8 AS start_mjd, (e.value->>'end_mjd')::float8 AS end_mjd,
      (e.value->>'amplitude')::float8 AS amplitude, (e.value->>'ra')::float8 AS ra,
      (e.value->>'dec')::float8 AS dec
    FROM configuration c JOIN task t ON t.step = c.step AND t.digest = c.digest
    JOIN project_source m ON m.project_id = c.project_id AND m.source_id = t.source_id
    JOIN source_raw r ON r.task_id = t.id JOIN raw_data d ON d.id = r.raw_data_id
    JOIN source s ON s.id = t.source_id
    CROSS JOIN LATERAL jsonb_array_elements(d.header->'injected') e
    WHERE c.project_id = :project AND c.current AND d.header ? 'injected' ORDER BY s.name, peak_mjd"""


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("demo")(demo)


def demo(
    name: Annotated[str | None, typer.Argument(help="Only this one: demo, harps_demo ...")] = None,
    *,
    workers: Workers = None,
    data: Data = None,
) -> None:
    """Run searches on simulated data, offline, and tell what was found and what was missed."""
    from virtualobserver.config.shipped import demonstrations

    known = demonstrations()
    if name is not None and name not in known:
        raise typer.BadParameter(f"there is no {name!r}; there are {', '.join(known)}", param_hint="NAME")
    failed = 0
    for each in [name] if name else known:
        failed += _one(each, workers=workers, data=data)
    activate = Path(sys.executable).parent / "activate"
    where = "" if shutil.which("vo") else f" (first `source {shlex.quote(str(activate))}`, for `vo`)"
    typer.echo(f"\nWhat to try next{where}:")
    at = "" if data is None else f" --data {shlex.quote(data)}"
    for command, meaning in _next_commands(name or known[0], data=data):
        typer.echo(f"  {command}{'' if command.startswith('vo new') else at}\n      {meaning}")
    if name is None:
        others = ", ".join(f"vo vet {each}{at}" for each in known[1:])
        typer.echo(f"  {others}\n      the other searches in a browser")
    if failed:
        raise typer.Exit(1)


def _one(name: str, *, workers: int | None, data: str | None) -> int:
    """Run one demonstration and tell what came of it; return how many tasks failed."""
    changes = [f"run.workers={workers}"] if workers else []
    with open_project(name, data=data, overrides=changes) as project:
        typer.echo(f"\n{project.settings.description}  ({name})\n")
        summary, seconds = run_project(project)
        found = project.detections(simulated=True)
        found = found[found["injection_id"].isna()]
        _tell(project.sql(_INJECTED, project=project.id), found, {one.name for one in project.sources})
        efficiency = project.efficiency()
        if not efficiency.empty:
            typer.echo(
                "\nInjection and recovery: what of events put into these data is covered and found; by strength, "
                f"`vo plot {called(name, data)} --efficiency --out efficiency.png`"
            )
            print_frame(_by_kind(efficiency), Format.table)
        done = (
            counted(summary.worked, "task")
            if summary.worked
            else "nothing to do, since all of it was done before"
        )
        sources = counted(len(project.sources), "source")
        typer.echo(f"{sources} in {seconds:.1f} s ({done}); data in {project.workspace.root}")
    for failure in summary.failures:
        typer.echo(
            f"failed: {failure['source']}, {failure['step']}: {failure['error']} (task {failure['task']})"
        )
    return summary.failed


def compare(injected: pd.DataFrame, found: pd.DataFrame) -> tuple[list[bool], list[int]]:
    """Match injected events with detections of the same source and kind that overlap them in time.

    An injected event with a position of its own (a moving object) belongs to no source known before: it matches
    the detections of its kind within 5 arcsec.

    Returns
    -------
    list of bool, list of int
        For each injected event whether it was found, and the rows of `found` with detections of the injected kinds
        that match none.
    """
    spans: dict[tuple[str, str], list[tuple[int, float, float]]] = {}
    placed = list(injected["ra"].notna()) if "ra" in injected else [False] * len(injected)
    columns = (injected[name] for name in ("source", "kind", "start_mjd", "end_mjd"))
    for number, (source, kind, start, end) in enumerate(zip(*columns, strict=True)):
        owner = "" if placed[number] else source
        spans.setdefault((owner, kind), []).append((number, start, end))
    kinds = {kind for _, kind in spans}
    hit: set[int] = set()
    surplus: list[int] = []
    columns = (found[name] for name in ("source", "kind", "start_mjd", "end_mjd"))
    for row, (source, kind, start, end) in enumerate(zip(*columns, strict=True)):
        near = spans.get((source, kind), [])
        matches = [number for number, first, last in near if first <= end and start <= last]
        matches += [
            number
            for number, first, last in spans.get(("", kind), [])
            if first <= end and start <= last and _apart(injected.iloc[number], found.iloc[row]) < _SAME_PLACE
        ]
        hit.update(matches)
        if kind in kinds and not matches:
            surplus.append(row)
    return [number in hit for number in range(len(injected))], surplus


def _apart(one: pd.Series, other: pd.Series) -> float:
    """Return arcsec between two rows with ra and dec; not a number if one has none."""
    from virtualobserver.maths.astrometry.sphere import separation

    return float(separation(one["ra"], one["dec"], other["ra"], other["dec"])) * ARCSEC_PER_DEGREE


def things(injected: pd.DataFrame, hits: Sequence[bool]) -> pd.DataFrame:
    """Return what was put in, a row each: a moving object, which is an event in every image, is one.

    Returns
    -------
    DataFrame
        As `injected`, the first event of each thing, with its number of ``events`` and of those ``hits``.
    """
    bodies = injected["body"] if "body" in injected else injected["kind"].map(lambda _: None)
    alone = [
        f"event {n}" if bodies.isna().iloc[n] else f"body {bodies.iloc[n]}" for n in range(len(injected))
    ]
    grouped = injected.assign(thing=alone, events=1, hits=list(hits)).groupby(
        ["source", "kind", "thing"], sort=False
    )
    counts = grouped[["events", "hits"]].sum()
    return grouped.first().drop(columns=["events", "hits"]).join(counts).reset_index()


def doubts(found: pd.DataFrame) -> str:
    """Return how many detections the search itself doubts, and why, as the end of a sentence; nothing if none."""
    doubtful = [one for one in found["parameters"] if one.get("class") == "doubtful"]
    if not doubtful:
        return ""
    reasons = Counter(reason for one in doubtful for reason in one.get("reasons", ()))
    why = ", ".join(f"{reason} {number}" for reason, number in reasons.most_common())
    return f"; the search itself doubts {len(doubtful)} of them: {why}"


def _tell(injected: pd.DataFrame, found: pd.DataFrame, targets: Collection[str]) -> None:
    """Say what was put in and found; what was discovered, of none of the targets' names, is counted once."""
    hits, surplus = compare(injected, found)
    put = things(injected, hits)
    moving = bool((put["events"] > 1).any())
    number = int((put["hits"] > 0).sum())
    noun = "moving objects" if moving else "events"
    typer.echo(f"\nPut in: {len(put)} {noun}. Found: {number}. Missed: {len(put) - number}.")
    for kind, those in put.groupby("kind"):
        seen = f", in {those['hits'].sum()} of {those['events'].sum()} images" if moving else ""
        typer.echo(f"  {f'{kind}:':<7} {(those['hits'] > 0).sum()} of {len(those)} found{seen}")
    these = "this kind" if put["kind"].nunique() == 1 else "these kinds"
    typer.echo(
        f"Detections of {these} where nothing was put in: {len(surplus)} "
        f"(noise, or what else the simulated sky does){doubts(found.iloc[surplus])}."
    )
    others = found[~found["kind"].isin(set(put["kind"]))]
    if len(others):
        once = others[others["source"].isin(targets) | ~others.duplicated(["source", "kind"])]
        listed = ", ".join(f"{count} {kind}" for kind, count in once["kind"].value_counts().items())
        typer.echo(f"Found besides, of kinds that are not counted above: {listed}.")
    if not found.empty:
        strongest = found.reindex(found["snr"].abs().sort_values(ascending=False).index)
        strongest = strongest.drop_duplicates(["source", "kind"]).head(5)
        print_frame(
            strongest,
            Format.table,
            columns=["id", "source", "kind", "band", "peak_mjd", "snr"],
            title="The strongest",
        )
    missed = put[put["hits"] == 0].head(5)
    if not missed.empty:
        print_frame(
            missed,
            Format.table,
            columns=["source", "kind", "peak_mjd", "amplitude"],
            title="Missed, the first few",
        )


def _by_kind(efficiency: pd.DataFrame) -> pd.DataFrame:
    """Return the numbers of injected events, all strengths together."""
    kinds = [name for name in ("analysis", "kind") if name in efficiency]
    if not kinds:
        return efficiency[["injected", "covered", "found"]].sum().to_frame().T
    return efficiency.groupby(kinds, as_index=False)[["injected", "covered", "found"]].sum()


def _telling(found: pd.DataFrame, drawn: Callable[[int], bool] = lambda _: True) -> str:
    """Return the number of the strongest detection that was not injected and has a picture: it shows something."""
    if found.empty:
        return "1"
    own = found[found["injection_id"].isna()]
    shown = own if len(own) else found
    order = shown.iloc[shown["snr"].abs().to_numpy().argsort(kind="stable")[::-1]]
    # a kind has pictures or has none: the strongest of each is looked at
    numbers = order.drop_duplicates("kind")["id"].tolist()
    return str(next((number for number in numbers if drawn(number)), numbers[0]))


def _is_drawn(project: Project, number: int) -> bool:
    """Whether there is more to see of a detection than its numbers."""
    from virtualobserver.data.panels import Facts

    return any(not isinstance(panel, Facts) for panel in project.panels(number))


def _next_commands(name: str, *, data: str | None) -> Iterator[tuple[str, str]]:
    """Yield commands that make sense after a demonstration, and what each is for."""
    with open_project(name, data=data) as project:
        found = project.detections(simulated=True)
        number = _telling(found, partial(_is_drawn, project))
        source = shlex.quote(project.sources[0].name)
        analysis, chosen = next(iter(project.settings.analyses.items()))
        threshold = getattr(chosen, "snr_threshold", None)
    yield (
        f"vo detections {name} --simulated",
        "all detections; what is simulated is shown only when asked for",
    )
    yield f"vo plot {name} --detection {number} --out event.png", "a picture of the strongest that has one"
    yield f"vo plot {name} {source} --out source.png", "all there is of a source"
    yield f"vo vet {name}", "judge them one by one in a browser on this machine"
    yield (
        'vo sql "SELECT kind, count(*), max(abs(snr)) FROM detections_all WHERE injection_id IS NULL GROUP BY kind"',
        "any question to the database: here what was found, without what was put in to measure the search",
    )
    if threshold is not None:
        yield (
            f"vo run {name} --set analyses.{analysis}.snr_threshold={threshold + 1:g}",
            "another threshold: only the search runs again",
        )
    yield f"vo export {name} detections --simulated --out events.vot", "for TOPCAT"
    yield "vo new project flares", "a configuration of your own"
