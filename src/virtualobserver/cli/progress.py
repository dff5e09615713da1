"""How far projects are: all at once, or one again and again, by the rows of their tasks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import typer

from virtualobserver.cli.show import Format, console, print_frame, print_json
from virtualobserver.typing import RecordDict

if TYPE_CHECKING:
    from virtualobserver.run.project import Project

__all__ = ["all_projects", "state", "watch", "why"]

_ALL: Final = """SELECT p.name AS project, coalesce(g.step, '') AS step,
      coalesce(sum(g.tasks) FILTER (WHERE g.status IN ('pending', 'running')), 0)::bigint AS open,
      coalesce(sum(g.tasks) FILTER (WHERE g.status = 'done'), 0)::bigint AS done,
      coalesce(sum(g.tasks) FILTER (WHERE g.status = 'empty'), 0)::bigint AS empty,
      coalesce(sum(g.tasks) FILTER (WHERE g.status = 'failed'), 0)::bigint AS failed,
      coalesce(sum(g.tasks) FILTER (WHERE g.status = 'stale'), 0)::bigint AS stale,
      max(g.last_finished) AS last_finished
    FROM project p LEFT JOIN progress g ON g.project = p.name GROUP BY 1, 2
    ORDER BY 1, min(g.first_finished), 2"""
_MINE: Final = """FROM task t JOIN configuration c ON c.step = t.step AND c.digest = t.digest AND c.current
    JOIN project_source m ON m.project_id = c.project_id AND m.source_id = t.source_id
    WHERE c.project_id = :project"""
_RECENT: Final = f"""SELECT count(*) AS finished,
      coalesce(extract(epoch FROM now() - min(t.finished)), 0)::float8 AS seconds
    {_MINE} AND t.finished > now() - make_interval(secs => :window)"""  # noqa: S608 - of our own making
_WHY: Final = f"""SELECT t.step, split_part(t.error, E'\\n', 1) AS error, count(*) AS tasks, min(t.id) AS task
    {_MINE} AND t.status = 'failed' GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT 3"""
_WINDOW: Final = 60.0
"""Seconds over which the rate is taken: long against a batch, short against a run. Chosen."""


def all_projects(data: str | None, *, as_json: bool) -> None:
    """Print the number of tasks of every project by step and status."""
    from virtualobserver.run.views.tables import sql
    from virtualobserver.run.workspace import Workspace

    with Workspace(data) as workspace:
        table = sql(workspace, _ALL, {})
    if as_json:
        print_json(table)
    elif table.empty:
        typer.echo(
            "There is no project in this data folder yet: `vo new project NAME` writes a configuration."
        )
    else:
        print_frame(table, Format.table)


def watch(project: Project, interval: float, *, as_json: bool) -> None:
    """Print how far a project is, every `interval` seconds until nothing is open, or for ever until interrupted."""
    out = console()
    while True:
        now = state(project)
        if as_json:
            print_json(now)
        else:
            if out.is_terminal:
                out.clear()
            typer.echo("\n".join(_sentences(now)))
        if not now["open"]:
            return
        time.sleep(interval)


def state(project: Project) -> RecordDict:
    """Return how far a project is, by its rows.

    Returns
    -------
    dict
        ``open`` tasks and sources without a task, ``done`` (with or without a result), ``failed``, ``rate`` (tasks
        a second, of the last minute), ``left`` (s; None where nothing moves) and ``reasons``: the three commonest
        failures with ``step, error, tasks``.
    """
    from virtualobserver.run.views.tables import sql

    table = project.status()
    counts = {
        name: int(table[name].sum())
        for name in ("pending", "running", "unplanned", "done", "empty", "failed")
    }
    values = {"project": project.id}
    recent = sql(project.workspace, _RECENT, {**values, "window": _WINDOW}).iloc[0]
    finished, seconds = int(recent["finished"]), float(recent["seconds"])
    rate = finished / max(seconds, 1.0) if finished else 0.0
    waiting = counts["pending"] + counts["running"] + counts["unplanned"]
    why = sql(project.workspace, _WHY, values)
    return {
        "project": project.name, "open": waiting, "done": counts["done"] + counts["empty"], "failed": counts["failed"],
        "rate": rate, "left": waiting / rate if waiting and rate else 0.0 if not waiting else None,
        "reasons": [
            {"step": step, "error": error, "tasks": tasks}
            for step, error, tasks, _ in why.itertuples(index=False, name=None)
        ],
    }  # fmt: skip


def why(project: Project) -> list[str]:
    """Return why not all is done, a sentence each: what ended the last run early, the three commonest failures."""
    from virtualobserver.run.views.stored import trouble
    from virtualobserver.run.views.tables import sql

    failures = sql(project.workspace, _WHY, {"project": project.id})
    told = [
        f"{tasks} failed in {step}: {error} (task {task}{' and others' if tasks > 1 else ''})"
        for step, error, tasks, task in failures.itertuples(index=False, name=None)
    ]
    early = trouble(project)
    return [early[0].upper() + early[1:], *told] if early.startswith("the last run") else told


def _sentences(now: RecordDict) -> list[str]:
    left = "nothing moves" if now["left"] is None else f"{_spoken(now['left'])} left"
    told = [f"{now['project']}: {now['done']} done, {now['open']} open, {now['failed']} failed"]
    if now["open"]:
        told.append(f"{now['rate']:.2g} tasks a second, {left}")
    return [*told, *(f"{each['tasks']} failed in {each['step']}: {each['error']}" for each in now["reasons"])]


def _spoken(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
