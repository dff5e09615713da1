"""Commands that work: run, simulate; and those that tell how far it is: config, status, log."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from virtualobserver.cli.completion import complete_config
from virtualobserver.cli.options import Config, Data, Json, Only, Set, Step, Workers
from virtualobserver.cli.show import (
    Format,
    called,
    note,
    open_project,
    print_frame,
    print_json,
    reporting,
    to_json,
)
from virtualobserver.typing import RecordDict
from virtualobserver.words import counted

if TYPE_CHECKING:
    import pandas as pd

    from virtualobserver.config.load import Resolved
    from virtualobserver.run.project import Project
    from virtualobserver.run.record import Summary

__all__ = ["register", "run_project"]

_MOST_ALIKE: Final = 3
"""Failures with one reason that are named, as where a folder is missing for all targets; the rest is counted."""

_TARGETS: Final = (
    "SELECT m.source_id FROM membership m JOIN project p ON p.id = m.project_id WHERE p.name = :name LIMIT 1"
)
SomeConfig = Annotated[
    str | None,
    typer.Argument(
        metavar="[CONFIG]", help="YAML file, or the name of one in configs/.", autocompletion=complete_config
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("run")(run)
    app.command("simulate")(simulate)
    app.command("config")(config)
    app.command("status")(status)
    app.command("log")(log)


def run(
    config: Config,
    *,
    step: Step = None,
    only: Only = None,
    redo: Annotated[bool, typer.Option("--redo", help="Do again what is done.")] = False,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Look again where nothing was found, and redo what is stale.")
    ] = False,
    workers: Workers = None,
    overrides: Set = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Do everything of a project that is not done yet."""
    changes = [*(overrides or ()), *([f"run.workers={workers}"] if workers else ())]
    with open_project(config, data=data, overrides=changes) as project:
        _check_step(project, step)
        options = {"step": step, "only": only or (), "redo": redo, "refresh": refresh}
        summary, seconds = run_project(project, quiet=as_json, **options)
        if as_json:
            print_json(_as_dict(summary, seconds))
        else:
            _tell(project, summary, seconds, called(config, data, overrides))
        _warn_unknown(project, only or ())
        if not summary.worked and project.sql(_TARGETS, name=project.name).empty:
            note("vo: the target list holds no targets; check catalog")
    if not summary.complete:
        raise typer.Exit(1)


def run_project(project: Project, *, quiet: bool = False, **options: Any) -> tuple[Summary, float]:
    """Run a project under progress bars; return what was done and the time it took in seconds."""
    import time

    begin = time.monotonic()
    with reporting(quiet=quiet) as report:
        summary = project.run(progress=report, **options)
    return summary, time.monotonic() - begin


def _check_step(project: Project, step: str | None) -> None:
    names = [known.name for known in project.steps]
    if step is not None and step not in names and step not in {known.kind for known in project.steps}:
        msg = f"project {project.name} has no step {step!r}; it has {', '.join(names)}"
        raise typer.BadParameter(msg, param_hint="--step")


def _warn_unknown(project: Project, only: Sequence[str]) -> None:
    known = {source.name for source in project.sources} if only else set()
    for name in only:
        if name not in known:
            note(f"vo: project {project.name} has no source {name!r}; nothing was done for it")


def _as_dict(summary: Summary, seconds: float) -> RecordDict:
    steps = {step: dict(counter) for step, counter in summary.counts.items()}
    return {
        "steps": steps,
        "failed": summary.failed,
        "failures": summary.failures,
        "left": summary.left,
        "notes": summary.notes,
        "seconds": round(seconds, 3),
    }


def _tell(project: Project, summary: Summary, seconds: float, config: str) -> None:
    """Say what was done, and why if it gave nothing; commands in it run this project, as `called` names it."""
    why = _why_nothing(project, summary, config)
    _print_summary(summary, seconds, config, barren=bool(why))
    for line in why:
        typer.echo(line)


def _print_summary(summary: Summary, seconds: float, config: str, *, barren: bool = False) -> None:
    again = f"vo run {config}"
    alike: Counter[str] = Counter()
    for failure in summary.failures:
        why = f"{failure['step']}: {failure['error']}"
        alike[why] += 1
        if alike[why] > _MOST_ALIKE:
            continue
        unit = f" {failure['unit']}" if failure["unit"] else ""
        reason = (str(failure["error"] or "").splitlines() or ["?"])[0].replace("vo run CONFIG", again)
        where = f"{failure['source']}{unit}, {failure['step']}"
        typer.echo(f"failed: {where}: {reason} (task {failure['task']})")
    for why, number in alike.items():
        if number > _MOST_ALIKE:
            said = why.splitlines()[0].replace("vo run CONFIG", again)
            typer.echo(f"failed: {number - _MOST_ALIKE} more for the same reason: {said}")
    for step, counter in summary.counts.items():
        if counter:
            typer.echo(
                f"{step}: " + ", ".join(f"{number} {name}" for name, number in sorted(counter.items()))
            )
    if not summary.worked and summary.complete and not summary.inputs:
        came = "all was tried before, and gave nothing" if barren else "everything is done already"
        typer.echo(f"Nothing to do: {came}.")
    elif summary.worked:
        end = f"; {summary.failed} failed, `vo log TASK` tells why" if summary.failed else ""
        typer.echo(f"{counted(summary.worked, 'task')} in {seconds:.1f} s{end}")
    for one in summary.notes:
        typer.echo(one)


def _why_nothing(project: Project, summary: Summary, config: str) -> list[str]:
    """Return why a run gave nothing: the commonest reason of the first step whose tasks are all empty or failed.

    A part of a reduction that has nothing to give, as world coordinates that frames bring themselves, is no reason
    where a later part gave something.
    """
    if summary.worked and not any(counter and not counter["done"] for counter in summary.counts.values()):
        return []
    from virtualobserver.run.views.tables import reasons

    table = project.status()
    steps = [str(step) for step in table.index]
    gave = [str(step) for step in table.index[table["done"] + table["stale"] > 0]]
    tried = [str(step) for step in table.index[table["empty"] + table["failed"] > 0]]
    barren = [step for step in tried if step not in gave and not _made_up_for(step, steps, gave)]
    if not barren:
        return []
    step, row = barren[0], table.loc[barren[0]]
    why = reasons(project)
    why = why[(why["step"] == step) & why["rows"].isna()]
    said = f"gave nothing: {row['empty']} empty, {row['failed']} failed"
    if row["empty"] >= row["failed"] and len(why):
        most, reason = max(zip(why["tasks"].astype(int), why["reason"], strict=True), key=lambda one: one[0])
        said = f"gave nothing: {most} of {row['empty'] + row['failed']} tasks empty, {reason}"
    lines = [f"{step} {said}; `vo status {config}` tells every reason, `vo log TASK` all of one task"]
    if not summary.worked:
        lines.append(f"`vo run {config} --refresh` looks again where nothing was found")
    return lines


def _made_up_for(step: str, order: Sequence[str], gave: Sequence[str]) -> bool:
    """Whether a part of a survey's reduction has a later one that gave something without it."""
    part, _, survey = step.partition(":")
    later = order[order.index(step) + 1 :]
    alike = [one for one in later if one.startswith("reduce.") and one.partition(":")[2] == survey]
    return part.startswith("reduce.") and any(one in gave for one in alike)


def simulate(
    config: Config,
    *,
    number: Annotated[int | None, typer.Option(min=1, help="Injections per source.")] = None,
    workers: Workers = None,
    overrides: Set = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Put events into the data, search them as always, and print how many come back."""
    from virtualobserver.run.views.efficiency import brief

    changes = [*(overrides or ()), *([f"run.workers={workers}"] if workers else ())]
    if number:
        from virtualobserver.config import load
        from virtualobserver.config.shipped import find_config
        from virtualobserver.plugins import settings_of

        names = load(find_config(config), changes, resolve=settings_of).settings.analyses
        changes += [f"analyses.{name}.simulate.number={number}" for name in names]
    with open_project(config, data=data, overrides=changes) as project:
        summary, seconds = run_project(project, quiet=as_json, step="simulate")
        table = project.efficiency()
        sample = _sample(project)
        if as_json:
            print_json({**_as_dict(summary, seconds), "efficiency": table, "population": sample})
        else:
            _tell(project, summary, seconds, called(config, data, overrides))
            if table.empty:
                note("No injections: give --number, and run the project first.")
            else:
                print_frame(brief(table), Format.table, title="Efficiency")
                for name, one in sample.items():
                    print_frame(one, Format.table, title=f"The whole sample, {name}")
    if not summary.complete:
        raise typer.Exit(1)


def _sample(project: Project) -> RecordDict:
    """Return what the analyses say about all sources; simulated ones only where there are no others."""
    tables = {}
    for name in project.settings.analyses:
        table = project.population(name)
        if table.empty:
            table = project.population(name, simulated=True)
        if not table.empty:
            tables[name] = table
    return tables


def config(
    config: Config,
    *,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of this configuration.")
    ] = False,
    no_plugins: Annotated[
        bool,
        typer.Option("--no-plugins", help="Run no code of plug-in files (.py) that the configuration names."),
    ] = False,
    overrides: Set = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Print the settings a configuration resolves to, and where each came from, and check that it can run.

    A plug-in file (.py) that a configuration names is a program: this command, and every other that reads the
    configuration, runs it. Look at somebody else's configuration with --no-plugins first.
    With a file, a folder, or a reference catalogue of the data folder that is named and not there it ends with 1,
    as the run would.
    """
    from virtualobserver.config import json_schema, load
    from virtualobserver.config.shipped import find_config
    from virtualobserver.plugins import settings_of
    from virtualobserver.run.checks import (
        check_project,
        missing_files,
        missing_services,
        settings_without_files,
    )
    from virtualobserver.run.workspace import data_root

    resolve = settings_without_files if no_plugins else settings_of
    resolved = load(find_config(config), overrides or (), resolve=resolve)
    settings = resolved.settings
    files = [name for name in (*settings.observatories, *settings.analyses) if name.endswith(".py")]
    if not no_plugins:
        check_project(resolved)
    elif files:
        note(f"not read: {', '.join(files)}; whether the project can run was not checked")
    if schema:
        surveys, analyses = list(settings.observatories), list(settings.analyses)
        found = json_schema(resolve, observatories=surveys, analyses=analyses)
        print_json(found)
        return
    if as_json:
        print_json(settings.to_dict())
    else:
        _print_settings(resolved)
    missing = missing_files(resolved)
    if not no_plugins:
        missing += missing_services(resolved, data_root(data))
    for one in missing:
        note(f"vo: {one}; tasks that need it would fail")
    if missing:
        raise typer.Exit(1)


def _print_settings(resolved: Resolved) -> None:
    import pandas as pd

    rows = [
        {"key": row.path, "value": f"{row.value}", "unit": row.unit or "", "from": row.origin}
        for row in resolved.table()
    ]
    print_frame(pd.DataFrame(rows, columns=["key", "value", "unit", "from"]), Format.table)


def status(
    config: SomeConfig = None,
    *,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Tell again and again, with rate and time left, until all is done."),
    ] = False,
    interval: Annotated[
        float, typer.Option(min=0.1, help="Of --watch: seconds from one time to the next.")
    ] = 5.0,
    overrides: Set = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Print the number of tasks by step and status, why tasks are empty, and what was left out.

    Without a configuration: of every project of the data folder.
    """
    from virtualobserver.cli import progress

    if config is None:
        if watch or overrides:
            raise typer.BadParameter("--watch and --set need a configuration", param_hint="CONFIG")
        progress.all_projects(data, as_json=as_json)
        return
    with open_project(config, data=data, overrides=overrides) as project:
        if watch:
            progress.watch(project, interval, as_json=as_json)
            return
        table = project.status()
        notes = project.notes()
        why = progress.why(project)
    if as_json:
        print_json({step: row.to_dict() for step, row in table.iterrows()})
        return
    _print_status(table, [*notes, *why], called(config, data, overrides))


def _print_status(table: pd.DataFrame, notes: Sequence[str], config: str) -> None:
    print_frame(table.drop(columns="reasons").reset_index(names="step"), Format.table)
    for step, reasons in table["reasons"].items():
        for reason in filter(None, reasons.split("; ")):
            typer.echo(f"{step}: {reason}")
    stale, failed = int(table["stale"].sum()), int(table["failed"].sum())
    if stale:
        typer.echo(
            f"{counted(stale, 'task')} stale, since their input changed: `vo run {config} --refresh` redoes them"
        )
    if unplanned := int(table["unplanned"].sum()):
        typer.echo(f"{counted(unplanned, 'source')} without a task yet: `vo run {config}` goes on")
    for one in notes:
        typer.echo(one)
    if failed:
        typer.echo(
            f"{counted(failed, 'task')} failed: `vo log TASK` tells all of one, `vo run {config}` tries again"
        )
    elif not table.drop(columns="reasons").to_numpy().any():
        typer.echo(f"Nothing was done yet with these settings: `vo run {config}` begins")


_TASK = """
    SELECT t.*, s.name AS source, r.version, r.commit, r.host, r.started FROM task t
    LEFT JOIN source s ON s.id = t.source_id LEFT JOIN run r ON r.id = t.run_id WHERE t.id = :id"""
_INPUTS = """
    SELECT 'raw' AS kind, d.id, d.observatory || ' ' || d.origin || ' ' || d.archive_id AS what
    FROM task_input i JOIN raw_data d ON d.id = i.raw_data_id WHERE i.task_id = :id
    UNION ALL SELECT p.kind, p.id, p.role || '/' || p.series
    FROM task_input i JOIN product p ON p.id = i.product_id WHERE i.task_id = :id ORDER BY 1, 2"""
_OUTPUTS = """
    SELECT p.kind, p.id, p.role || '/' || p.series AS what FROM product p WHERE p.task_id = :id
    UNION ALL SELECT 'detection', d.id, d.kind || ' S/N ' || round(d.snr::numeric, 1)
    FROM detection d WHERE d.task_id = :id
    ORDER BY 1, 2"""


def log(
    task: Annotated[int, typer.Argument(help="Number of the task.")], data: Data = None, as_json: Json = False
) -> None:
    """Print everything that is known of a task: state, inputs, results, traceback."""
    from virtualobserver.run.views.tables import sql
    from virtualobserver.run.workspace import Workspace

    with Workspace(data) as workspace:
        found = sql(workspace, _TASK, {"id": task})
        if found.empty:
            msg = f"there is no task {task}"
            raise typer.BadParameter(msg, param_hint="TASK")
        made_from, made = (sql(workspace, query, {"id": task}) for query in (_INPUTS, _OUTPUTS))
    facts = json.loads(to_json(found))[0]
    if facts.get("listed") is not None:
        facts["listed"] = f"{len(json.loads(facts['listed']))} files in the archive"
    if as_json:
        print_json({**facts, "inputs": made_from, "results": made})
        return
    trace = facts.pop("traceback")
    for name, value in facts.items():
        if value not in (None, ""):
            typer.echo(f"{name + ':':<12} {value}")
    for title, rows in (("made from", made_from), ("results", made)):
        for row in rows.itertuples(index=False):
            typer.echo(f"{title + ':':<12} {row.kind} {row.id} {row.what}")
    if trace:
        typer.echo(f"\n{trace}")
