"""Where batches are done: here, in processes of their own, or on an existing Dask cluster."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import forkserver, get_context, parent_process
from types import FrameType, ModuleType
from typing import Any, Final, Protocol

from sqlalchemy import text

from virtualobserver.config.log import get_logger
from virtualobserver.errors import ConfigError, RunError
from virtualobserver.run.tasks.batch import run_batch
from virtualobserver.run.tasks.task import Job
from virtualobserver.run.workspace import Workspace

__all__ = ["DaskExecutor", "Executor", "ProcessExecutor", "Report", "SerialExecutor", "make_executor"]

Report = tuple[list[int], Counter[str] | None]

_WORKSPACES: dict[tuple[str, str | None], Workspace] = {}
_LOCK = threading.Lock()
_AT_WORK = threading.Lock()  # held by a worker process during a batch
_ROOM = threading.BoundedSemaphore(4)  # batches at once in one process: each holds two database connections
_TERMINAL = {signal.SIGINT, signal.SIGHUP}
_INTERRUPTS: Final = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
_NURSERY: Final = "virtualobserver.run.nursery"
_LONGEST_FOLDER: Final = 70
"""Letters of the folder of temporary files with which the name of a socket in it, 32 longer, is one for Linux (107)."""
_AHEAD = 500  # batches handed to a cluster in advance: enough to keep it busy, or to let it grow

_TOUCHED = text("""
    SELECT status, count(*) AS tasks FROM task
    WHERE id = ANY(:ids) AND run_id = :run AND (status = 'running' OR finished > :planned) GROUP BY status""")

_log = get_logger(__name__)


class Executor(Protocol):
    """Does batches and reports each; a report without counts means that the worker died."""

    def warm(self) -> None:
        """Let the workers start, as there will be something to do."""
        ...

    def map(self, job: Job, batches: Sequence[list[int]]) -> Iterator[Report]:
        """Yield (ids, counts) as batches end; counts is None for a batch whose worker died."""
        ...

    def close(self) -> None:
        """End the workers."""
        ...


class SerialExecutor:
    """Does batches in this process."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def warm(self) -> None:
        """Nothing to start."""

    def map(self, job: Job, batches: Sequence[list[int]]) -> Iterator[Report]:
        """Yield (ids, counts) of one batch after the other."""
        for ids in batches:
            yield ids, run_batch(self._workspace, job, ids)

    def close(self) -> None:
        """Nothing to end."""


def _workspace(job: Job) -> Workspace:
    """Return this process's workspace of the job, which stays open between batches."""
    place = (job.root, job.url)
    with _LOCK:
        if place not in _WORKSPACES:
            _WORKSPACES[place] = Workspace(job.root, url=job.url)
        return _WORKSPACES[place]


def _awake() -> None:
    """Do nothing: a worker that does it has started, with all that this module imports."""


def _in_worker(job: Job, ids: list[int]) -> Counter[str]:
    """Do a batch in a worker process."""
    with _AT_WORK:
        return run_batch(_workspace(job), job, ids)


def _leave_with_driver() -> None:
    """End this process, after the batch it is in, when the driver was killed: nobody would ever tell it to."""
    driver = parent_process()
    assert driver is not None
    driver.join()
    with _AT_WORK:
        os._exit(1)


def _in_dask_worker(job: Job, ids: list[int]) -> Counter[str]:
    """Do a batch on a cluster, which hands it out again when a worker dies, without telling us.

    What this run has begun or ended is therefore counted and not touched: tasks that are still ``running``
    are those of the dead worker, and for the driver to give back.
    """
    with _ROOM:
        workspace = _workspace(job)
        with workspace.database.session() as session:
            rows = session.execute(_TOUCHED, {"ids": ids, "run": job.run_id, "planned": job.planned})
            touched = Counter({row.status: row.tasks for row in rows})
        return touched or run_batch(workspace, job, ids)


@contextmanager
def _new_process() -> Iterator[None]:
    """Begin processes in here that are deaf to the terminal and do not import the script that asks for them.

    Such a process imports for seconds before `_quiet_worker` runs, and would answer Ctrl-C with a traceback of each. Of
    the script it needs nothing, as a job names its plug-ins; a script without ``if __name__ == "__main__"`` would run
    in each of them again. `multiprocessing` leaves out a main module that has no file.
    """
    with _interrupts_wait():
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _TERMINAL)
        script = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = script
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Let what interrupts this program wait until the end of the block; a second one does not wait.

    A pool that is left between asking for a process and knowing it does not wait for that process at its end, which
    then finds no locks and says so with a traceback. To block the signal is not enough: another thread of the
    program, a library's, may take it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is interrupted
        return
    held: list[int] = []
    before = {number: signal.getsignal(number) for number in _INTERRUPTS}

    def hold(number: int, frame: FrameType | None) -> None:
        answer = before[signal.Signals(number)]
        if held and callable(answer):
            answer(number, frame)
        held.append(number)

    answered = [number for number, answer in before.items() if callable(answer)]
    for number in answered:
        signal.signal(number, hold)
    try:
        yield
    finally:
        for number in answered:
            signal.signal(number, before[number])
        if held:
            signal.raise_signal(held[0])


def _quiet_worker(threads: int, environment: Mapping[str, str]) -> None:
    """Leave Ctrl-C to the driver, share the cores among the workers, and end without a last look at every object.

    A forked worker has the environment of the process it was forked from, which may have started before the driver
    changed its own.
    """
    os.environ.clear()
    os.environ.update(environment)
    atexit.register(
        gc.freeze
    )  # an interpreter that ends searches all it ever imported for garbage: half a second
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _TERMINAL)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = str(threads)
    threading.Thread(target=_leave_with_driver, name="driver", daemon=True).start()


def _start_method() -> str:
    """Return how worker processes begin, see `ProcessExecutor`."""
    forks = sys.platform == "linux" and len(tempfile.gettempdir()) <= _LONGEST_FOLDER
    return "forkserver" if forks else "spawn"


class ProcessExecutor:
    """Does batches in processes of their own; the pool is made anew when one of them dies.

    On Linux these are forked from one process that has imported what all need; a process that has threads and
    connections, as the driver, cannot be forked safely. Elsewhere each worker starts afresh, as system libraries
    there do not bear a fork.

    Parameters
    ----------
    workers
        Number of processes.
    plugins
        Modules of surveys and analyses, imported once as well.
    """

    def __init__(self, workers: int, plugins: Sequence[str] = ()) -> None:
        self._workers, self._plugins = workers, plugins
        self._pool = self._make()

    def _make(self) -> ProcessPoolExecutor:
        context = get_context(_start_method())
        context.set_forkserver_preload([*self._plugins, _NURSERY])
        threads = max(1, (os.cpu_count() or 1) // self._workers)
        return ProcessPoolExecutor(
            self._workers,
            mp_context=context,
            initializer=_quiet_worker,
            initargs=(threads, dict(os.environ)),
        )

    def warm(self) -> None:
        """Let the imports of the workers begin, which take a second, while this process does something else.

        No worker is asked for as long as its fork server imports: the process that asks waits for the number of the
        new one, and could do nothing beside.
        """
        with _new_process():
            if _start_method() == "forkserver":
                forkserver.ensure_running()
                return
            for _ in range(self._workers):
                self._pool.submit(_awake)

    def map(self, job: Job, batches: Sequence[list[int]]) -> Iterator[Report]:
        """Yield (ids, counts) in the order in which batches end."""
        waiting = list(reversed(batches))
        running: dict[Future[Counter[str]], list[int]] = {}
        while waiting or running:
            while waiting and len(running) < 2 * self._workers:
                ids = waiting.pop()
                with _new_process():
                    future = self._pool.submit(_in_worker, job, ids)
                running[future] = ids
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            broken = False
            for future in done:
                ids = running.pop(future)
                if isinstance(future.exception(), BrokenProcessPool):
                    broken = True
                    _log.warning("worker died", step=job.step.name, tasks=len(ids))
                    yield ids, None
                else:
                    yield ids, future.result()
            if broken:
                lost = list(running.values())
                running.clear()
                self._pool.shutdown(wait=True)
                self._pool = self._make()
                for ids in lost:
                    yield ids, None

    def close(self) -> None:
        """End the processes after the batches they are in."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class DaskExecutor:
    """Does batches on an existing Dask cluster, which schedules them and replaces lost workers.

    Parameters
    ----------
    address
        Of the scheduler, ``tcp://host:8786``.

    Raises
    ------
    ConfigError
        If dask.distributed is not installed.
    RunError
        If no scheduler answers there.
    """

    def __init__(self, address: str) -> None:
        try:
            from distributed import Client
        except ImportError as error:
            msg = f"run.dask is {address}, but Dask is not installed: pip install 'virtualobserver[dask]'"
            raise ConfigError(msg) from error
        self._address = address
        try:
            self._client = Client(address, set_as_default=False, name="virtualobserver")
        except (OSError, ValueError) as error:
            msg = f"no Dask scheduler answers at {address} (run.dask): {error}"
            raise RunError(msg) from error

    def warm(self) -> None:
        """Nothing to start: the cluster is there."""

    def map(self, job: Job, batches: Sequence[list[int]]) -> Iterator[Report]:
        """Yield (ids, counts) in the order in which batches end.

        Raises
        ------
        RunError
            If the scheduler goes away.
        """
        from distributed import as_completed

        waiting = iter(batches)
        running = {self._submit(job, ids): ids for ids in islice(waiting, _AHEAD)}
        ended = as_completed(list(running), loop=self._client.loop)
        for future in ended:
            ids = running.pop(future)
            for ahead in islice(waiting, 1):
                running[fresh := self._submit(job, ahead)] = ahead
                ended.add(fresh)
            counts = self._result(future)
            if counts is not None and not counts["running"]:
                yield ids, counts
                continue
            if counts:
                yield (
                    [],
                    Counter({status: number for status, number in counts.items() if status != "running"}),
                )
            _log.warning("worker died", step=job.step.name, tasks=len(ids))
            yield ids, None

    def _submit(self, job: Job, ids: list[int]) -> Any:
        # Never again after an exception: what raises here ends the run, as it does without a cluster.
        return self._client.submit(_in_dask_worker, job, ids, pure=False, retries=0)

    def _result(self, future: Any) -> Counter[str] | None:
        """Return the counts of a batch, None when too many workers died before they could begin it."""
        from distributed.client import FutureCancelledError
        from distributed.scheduler import KilledWorker

        try:
            counts: Counter[str] = future.result()
        except KilledWorker:
            return None
        except FutureCancelledError as error:
            msg = (
                f"the Dask scheduler at {self._address} went away; what is done stays done: run again "
                f"when it is back"
            )
            raise RunError(msg) from error
        return counts

    def close(self) -> None:
        """Leave the cluster; it goes on."""
        self._client.close()


def make_executor(
    workspace: Workspace, *, workers: int, dask: str | None, plugins: Sequence[str] = ()
) -> Executor:
    """Return the executor the settings ask for; `plugins` are the modules that its workers will need."""
    if dask:
        return DaskExecutor(dask)
    return ProcessExecutor(workers, plugins) if workers > 1 else SerialExecutor(workspace)
