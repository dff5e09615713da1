"""Where batches are done: here, in spawned processes, or on an existing Dask cluster."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, Protocol

from virtualobserver.run.work import Job, run_batch
from virtualobserver.run.workspace import Workspace

__all__ = ["DaskExecutor", "Executor", "ProcessExecutor", "Report", "SerialExecutor", "make_executor"]

Report = tuple[list[int], Counter[str] | None]

_WORKSPACES: dict[tuple[str, str | None], Workspace] = {}


class Executor(Protocol):
    """Does batches and reports each; a report without counts means that the worker died."""

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

    def map(self, job: Job, batches: Sequence[list[int]]) -> Iterator[Report]:
        """Yield (ids, counts) of one batch after the other."""
        for ids in batches:
            yield ids, run_batch(self._workspace, job, ids)

    def close(self) -> None:
        """Nothing to end."""


def _in_worker(job: Job, ids: list[int]) -> Counter[str]:
    """Do a batch in a worker process, which keeps its workspace open between batches."""
    place = (job.root, job.url)
    if place not in _WORKSPACES:
        _WORKSPACES[place] = Workspace(job.root, url=job.url)
    return run_batch(_WORKSPACES[place], job, ids)


def _quiet_worker(threads: int) -> None:
    """Leave Ctrl-C to the driver, and share the cores among the workers."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = str(threads)


class ProcessExecutor:
    """Does batches in spawned processes; the pool is made anew when one of them dies."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._pool = self._make()

    def _make(self) -> ProcessPoolExecutor:
        threads = max(1, (os.cpu_count() or 1) // self._workers)
        return ProcessPoolExecutor(
            self._workers, mp_context=get_context("spawn"), initializer=_quiet_worker, initargs=(threads,)
        )

    def map(self, job: Job, batches: Sequence[list[int]]) -> Iterator[Report]:
        """Yield (ids, counts) in the order in which batches end."""
        waiting = list(reversed(batches))
        running: dict[Future[Counter[str]], list[int]] = {}
        while waiting or running:
            while waiting and len(running) < 2 * self._workers:
                ids = waiting.pop()
                running[self._pool.submit(_in_worker, job, ids)] = ids
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            broken = False
            for future in done:
                ids = running.pop(future)
                if isinstance(future.exception(), BrokenProcessPool):
                    broken = True
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
    """Does batches on an existing Dask cluster, which schedules them and replaces lost workers."""

    def __init__(self, address: str) -> None:
        from distributed import Client

        self._client = Client(address, set_as_default=False)

    def map(self, job: Job, batches: Sequence[list[int]]) -> Iterator[Report]:
        """Yield (ids, counts) in the order in which batches end."""
        from distributed import as_completed
        from distributed.scheduler import KilledWorker

        futures = {self._client.submit(_in_worker, job, ids, pure=False, retries=2): ids for ids in batches}
        for future in as_completed(list(futures)):
            error: Any = future.exception()
            if isinstance(error, KilledWorker):
                yield futures[future], None
            elif error is not None:
                raise error
            else:
                yield futures[future], future.result()

    def close(self) -> None:
        """Leave the cluster; it goes on."""
        self._client.close()


def make_executor(workspace: Workspace, *, workers: int, dask: str | None) -> Executor:
    """Return the executor the settings ask for."""
    if dask:
        return DaskExecutor(dask)
    return ProcessExecutor(workers) if workers > 1 else SerialExecutor(workspace)
