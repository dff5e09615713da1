"""The run: plan a step, hand out its batches, go on until nothing is left to do."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from virtualobserver.config.log import get_logger
from virtualobserver.errors import ConfigError, RunError, VirtualObserverError
from virtualobserver.run.executors import Executor, make_executor
from virtualobserver.run.listings import compare
from virtualobserver.run.plan import Open, batches, look, moment, plan, release_dead, runnable
from virtualobserver.run.record import Summary, begin, end, told
from virtualobserver.run.steps import Step
from virtualobserver.run.tasks.heartbeat import Heartbeat
from virtualobserver.run.tasks.task import Job
from virtualobserver.run.upkeep.prune import prune, run_name

if TYPE_CHECKING:
    from virtualobserver.db.engine import Session
    from virtualobserver.run.opened import Opened

__all__ = ["Choice", "Progress", "drive", "executor_of"]

# Over the steps, should another run put something in question that was done: one mends it, the next finds it so; what
# still goes on then is said at the end and left to another run.
_PASSES = 3
# s between looks at what another run holds: soon at first, and then without a load that tells; see `_wait_for_others`
_PAUSE, _LONGEST_PAUSE = 0.1, 1.0
_FRUITLESS = 3  # rounds in which workers died and nothing else happened


@dataclass(frozen=True)
class Choice:
    """What of a project to run."""

    step: str | None = None
    only: Sequence[str] = ()
    redo: bool = False
    refresh: bool = False

    def wants(self, step: Step) -> bool:
        """Whether `step` is asked for: by full name, by kind, or because nothing was asked."""
        return self.step in {
            None,
            step.name,
            step.kind,
            step.name.partition(":")[0],
            step.name.partition(".")[0],
        }


Progress = Callable[[str, int, Counter[str]], None]

_log = get_logger(__name__)


def executor_of(project: Opened) -> Executor:
    """Return what does the batches of a project, as its settings ask; close it after the run.

    Raises
    ------
    ConfigError
        If it is a cluster that cannot reach the database.
    """
    _check_place(project)
    plugins = {type(step.instance).__module__: None for step in project.steps}
    return make_executor(
        project.workspace, workers=project.workers, dask=project.settings.run.dask, plugins=list(plugins)
    )


def drive(
    project: Opened, choice: Choice, executor: Executor, *, progress: Progress | None = None
) -> Summary:
    """Run a project and return what was done.

    Every step is planned when the steps before it have ended. Tasks that failed are tried once more in each
    run; empty and stale ones only with ``refresh``.
    """
    run_id, summary = begin(project), Summary()
    try:
        # what takes files away looks for this sign of life
        with Heartbeat(project.workspace.database, run_name(run_id), project.settings.run.lease):
            _do_all(_Drive(project, choice, executor, run_id, progress, summary))
    except (VirtualObserverError, OSError) as error:
        summary.trouble = told(error)
        raise
    finally:
        end(project, run_id, summary)
    dropped = [role for role, kept in project.settings.keep.items() if not kept]
    for role in dropped:
        prune(project.workspace, role=role, project=project.name, settled=True)
    return summary


_LOOKED_AT = ("source", "membership", "task", "source_raw", "raw_data", "product", "configuration")
_WRITTEN = {"fetch": ("task", "source_raw", "raw_data"), "analyse": ("task", "product", "source")}
_WRITTEN_ELSE = ("task", "product")

_OUT_OF_DATE = text("""
    SELECT t.name FROM unnest(CAST(:tables AS text[])) t(name) JOIN pg_stat_user_tables s ON s.relid = t.name::regclass
    WHERE coalesce(s.last_analyze, s.last_autoanalyze) IS NULL OR s.n_mod_since_analyze > 0.1 * s.n_live_tup""")


@dataclass
class _Statistics:
    """What the server knows of the sizes of tables: without it, it plans nested loops over what a step wrote."""

    worked: dict[str, int] | None = None  # tasks of this run that were done when it last counted, by step

    def refresh(self, session: Session, counts: Mapping[str, Counter[str]]) -> None:
        """Have the server look at the tables again that changed; `counts` are the tasks done by now, by step.

        Workers wait meanwhile, so that only what the steps that were at work write is looked at again.
        """
        worked = {step: counter.total() for step, counter in counts.items() if counter}
        if worked == self.worked:
            return
        if self.worked is None:  # most runs find little to do, and a look takes a second for large tables
            tables = set(session.execute(_OUT_OF_DATE, {"tables": list(_LOOKED_AT)}).scalars())
        else:
            kinds = [step.partition(":")[0] for step in worked if worked[step] != self.worked.get(step)]
            tables = {table for kind in kinds for table in _WRITTEN.get(kind, _WRITTEN_ELSE)}
        if tables:
            session.execute(text(f"ANALYZE {', '.join(sorted(tables))}"))
        self.worked = worked


@dataclass(frozen=True)
class _Drive:
    """One call of `drive`: what is to be done, by whom, and what was done so far."""

    project: Opened
    choice: Choice
    executor: Executor
    id: int
    progress: Progress | None
    summary: Summary
    statistics: _Statistics = field(default_factory=_Statistics)

    def number(self, step: Step) -> int:
        """Return the injections wanted per source."""
        return self.project.injections(step.plugin) if step.kind == "simulate" else 0

    def only(self, step: Step) -> Sequence[str]:
        """Return the names of the sources asked for; cameras are no targets, and serve all."""
        return () if step.kind == "calibrate" else self.choice.only


def _do_all(run: _Drive) -> None:
    """Do all steps; a server that went away is waited for once, and what was done is not done again."""
    try:
        return _do_steps(run)
    except DBAPIError as error:
        if run.choice.redo or not run.project.workspace.database.is_lost(error):
            raise
    run.project.workspace.database.recover()
    with closing(executor_of(run.project)) as executor:  # workers may still hold batches of before
        return _do_steps(replace(run, executor=executor, statistics=_Statistics()))


def _do_steps(run: _Drive) -> None:
    """Do the steps in their order, and again while somebody adds to what they have to do.

    Whether all is done is read from what the catalogue asks, so that it holds whatever runs beside this one.
    """
    steps = [step.forgetful() for step in run.project.steps if run.choice.wants(step)]
    for again in range(_PASSES):
        before = _moment(run)
        for step in steps:
            counter = run.summary.counts.setdefault(step.name, Counter())
            if step.kind != "simulate" or run.number(step):
                _do_step(run, step, counter, again=again > 0)
        # planning has found nothing missing, if nobody, itself included, has written anything since
        unchanged = _moment(run) == before
        opened = {step.name: _look(run, step, planned=unchanged) for step in steps}
        run.summary.left = {name: one.left for name, one in opened.items() if one.left}
        run.summary.failed_tasks = [task_id for one in opened.values() for task_id in one.failed]
        if not run.summary.left:
            return


def _moment(run: _Drive) -> str:
    """Return the moment of the database after which nothing was written but by planning, workers and other runs."""
    with run.project.session() as session, session.begin():
        run.statistics.refresh(session, run.summary.counts)
    with run.project.session() as session:
        return moment(session)


def _look(run: _Drive, step: Step, *, stage: str = "", planned: bool = False) -> Open:
    with run.project.session() as session:
        return look(
            session,
            step,
            run.project.id,
            only=run.only(step),
            stage=stage,
            number=run.number(step),
            planned=planned,
        )


def _check_place(project: Opened) -> None:
    if project.settings.run.dask and project.workspace.database.embedded:
        msg = (
            "a Dask cluster needs a database that all its workers reach: set VO_DATABASE_URL, "
            "and put the data folder (VO_DATA) on a file system they share"
        )
        if not project.settings.run.dask.startswith(("tcp://127.", "tcp://localhost")):
            raise ConfigError(msg)


def _statuses(step: Step, choice: Choice) -> list[str]:
    statuses = ["pending", "failed"]
    if choice.refresh or choice.redo:
        statuses += ["stale", "empty"]
    if choice.redo and (choice.step is None or choice.wants(step)):
        statuses.append("done")
    # What a folder holds now is listed; what a live archive holds is known only when it is asked.
    if choice.refresh and step.kind == "fetch" and step.origin == "live":
        statuses.append("done")
    return statuses


def _do_step(run: _Drive, step: Step, total: Counter[str], *, again: bool) -> None:
    """Do a step, with what others leave of it; add to `total` how many tasks ended in which status."""
    for stage in step.instance.master_kinds if step.kind == "calibrate" else ("",):
        statuses = ["pending"] if again else _statuses(step, run.choice)
        while True:
            job, tasks = _plan_step(run, step, statuses, stage=stage)
            size = total.total() + len(tasks)
            tell = partial(run.progress, step.name, size) if run.progress else None
            work = batches(tasks, run.project.settings.run.batch or step.batch)
            _hand_out(run.project, run.executor, job, work, total, tell=tell)
            if not _wait_for_others(run, step, stage):
                break
            statuses = ["pending"]


def _wait_for_others(run: _Drive, step: Step, stage: str) -> bool:
    """Wait until no other run holds a task of this step; return True as soon as there is something to do.

    A run beside this one shares what both ask for. Should it be stopped, or die, or fall silent for longer than
    its lease, this one takes over.
    """
    pause = _PAUSE
    told = False
    while (found := _look(run, step, stage=stage, planned=True)).held and not found.ready:
        if not told:
            _log.info("waiting for another run", step=step.name, tasks=found.held)
            told = True
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
        with run.project.session() as session, session.begin():
            release_dead(session)
    return found.ready > 0


def _plan_step(
    run: _Drive, step: Step, statuses: Sequence[str], *, stage: str
) -> tuple[Job, list[tuple[int, int, int]]]:
    """Bring the tasks of a step up to date; return what workers have to know, and the tasks to do."""
    project, number = run.project, run.number(step)
    inputs = compare(project, step)
    told = inputs.step in {known.step for known in run.summary.inputs}
    if not told and (inputs.problem or (inputs.notes and not run.choice.refresh)):
        run.summary.inputs.append(inputs)
    with project.session() as session, session.begin():
        run.statistics.refresh(session, run.summary.counts)
        release_dead(session)
        plan(session, step, project.id, number=number, changed=inputs.tasks)
        tasks = runnable(session, step, project.id, statuses=statuses, only=run.only(step), stage=stage)
        planned = session.execute(text("SELECT now()")).scalar_one()
    if step.kind == "simulate" and run.choice.redo and "done" in statuses:
        _restart_injections(project, [task_id for task_id, _, _ in tasks])
    workspace = project.workspace
    job = Job(
        str(workspace.root),
        workspace.database.url,
        step,
        run.id,
        lease=project.settings.run.lease,
        number=number,
        planned=planned,
        fresh=run.choice.refresh,
    )
    return job, tasks


def _hand_out(
    project: Opened,
    executor: Executor,
    job: Job,
    work: list[list[int]],
    total: Counter[str],
    *,
    tell: Callable[[Counter[str]], None] | None,
) -> None:
    """Have all batches done, those of dead workers again; add to `total` how many tasks ended in which status."""
    rounds: Counter[tuple[int, int]] = Counter()
    shifts = [work]
    while work:
        died: list[int] = []
        for ids, counts in (report for shift in shifts for report in executor.map(job, shift)):
            if counts is None:
                died += ids
                continue
            total += counts
            if tell:
                tell(total)
        work = _after_deaths(project, died, total)
        # one at a time from now on: a worker that dies takes what runs beside it along
        shifts = [[ids] for ids in work]
        rounds[total.total(), _deaths(project, work)] += 1
        if work and max(rounds.values()) > _FRUITLESS:
            msg = (
                f"workers die before they begin a task of {job.step.name}: is there memory, is all installed?"
            )
            raise RunError(msg)


def _deaths(project: Opened, work: Sequence[Sequence[int]]) -> int:
    """Return how many workers died on these tasks."""
    if not work:
        return 0
    with project.session() as session:
        statement = text("SELECT coalesce(sum(deaths), 0) FROM task WHERE id = ANY(:ids)")
        return int(session.execute(statement, {"ids": [n for ids in work for n in ids]}).scalar_one())


def _restart_injections(project: Opened, ids: Sequence[int]) -> None:
    with project.session() as session, session.begin():
        session.execute(text("UPDATE task SET extent = 0 WHERE id = ANY(:ids)"), {"ids": list(ids)})


def _after_deaths(project: Opened, died: Sequence[int], total: Counter[str]) -> list[list[int]]:
    """Free the tasks of dead workers: each goes alone from now on, and fails at the third death."""
    if not died:
        return []
    _wait_for_release(project, died)
    with project.session() as session, session.begin():
        failed = session.execute(
            text("""UPDATE task SET status = 'failed', error_kind = 'permanent', finished = now(),
              error = 'killed its worker ' || deaths || ' times (out of memory, or a crash in compiled code)'
            WHERE id = ANY(:ids) AND status = 'pending' AND deaths >= :most RETURNING id"""),
            {"ids": list(died), "most": project.settings.run.max_attempts},
        ).all()
        total["failed"] += len(failed)
        rest = session.execute(
            text("SELECT id FROM task WHERE id = ANY(:ids) AND status IN ('pending', 'stale') ORDER BY id"),
            {"ids": list(died)},
        ).scalars()
        return [[task_id] for task_id in rest]


def _wait_for_release(project: Opened, ids: Sequence[int]) -> None:
    """Give back the tasks of dead workers, as soon as the server has noticed that they are dead."""
    for _ in range(50):
        with project.session() as session, session.begin():
            release_dead(session)
            held = session.execute(
                text("SELECT EXISTS (SELECT FROM task WHERE id = ANY(:ids) AND status = 'running')"),
                {"ids": list(ids)},
            ).scalar_one()
        if not held:
            return
        time.sleep(0.1)
