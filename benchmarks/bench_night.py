"""Calibration of a night by a project: frames per second beside what reading and writing alone take, and memory.

Raw frames are a few simulated ones under many names (hard links), and each calibrated frame is removed once it was
written and registered, so that the disk need not hold a night. Each number of frames is run in a process of its own,
since a peak of memory never falls.

Usage: python benchmarks/bench_night.py [side] [frames] [more frames ...]
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np

from virtualobserver import Project
from virtualobserver.data import Target
from virtualobserver.observatories.astep import VirtualASTEP

SIDE, FRAMES = 1024, (5, 20)
NIGHT = "2010-03-01"
DIFFERENT = 3
PRODUCT_BYTES = 4 + 4 + 2
"""Of a pixel: value, variance, mask."""
COSMIC_RAYS = "flag"
MEMORY_LIMIT = 1.0


@dataclass(frozen=True)
class Measured:
    """Seconds for masters and for frames, processor seconds for frames, peak memory in MB of parent and worker."""

    masters: float
    frames: float
    processor: float
    parent: float
    child: float


def make(folder: Path, side: int) -> None:
    """Write a night with a few science frames, as large as asked for."""
    survey = VirtualASTEP(
        simulation={
            "frames": DIFFERENT, "size": (side, side), "biases": 5, "darks": 5, "flats": 5, "movers": 0,
            "stars": round(3000 * (side / 4096) ** 2),
        }
    )  # fmt: skip
    target = Target("field", ra=150.0, dec=-65.0, kind="field")
    for _, raw in survey.simulate_raw([target], np.random.default_rng(1)):
        path = folder / raw.archive_id
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw.content or b"")


def linked(few: Path, folder: Path, frames: int) -> Path:
    """Return a folder with a night of so many science frames, all links to the few there are."""
    real = sorted((few / NIGHT / f"{NIGHT}-CAMS").glob("*_SCIENCE.fits"))
    for path in few.rglob("*.fits"):
        (folder / path.relative_to(few).parent).mkdir(parents=True, exist_ok=True)
        if path not in real:
            os.link(path, folder / path.relative_to(few))
    start = datetime.fromisoformat(f"{NIGHT}T00:00:00")
    for number in range(frames):
        name = f"{NIGHT}_{start + timedelta(seconds=100 * number):%H.%M.%S}_SCIENCE.fits"
        os.link(real[number % len(real)], folder / NIGHT / f"{NIGHT}-CAMS" / name)
    return folder


def measure(few: Path, frames: int) -> Measured:
    """Calibrate a night in this process, with one worker."""
    os.environ.pop("VO_DATABASE_URL", None)  # only ever the throw-away server
    with tempfile.TemporaryDirectory(prefix="night_", dir=few.parent) as folder:
        configuration = {
            "name": "bench_night",
            "catalog": {"rows": [{"name": "field", "ra": 150.0, "dec": -65.0, "kind": "field"}]},
            "observatories": {
                "astep": {
                    "archive": str(linked(few, Path(folder) / "raw", frames)),
                    "cosmic_rays": COSMIC_RAYS,
                    "memory_limit": MEMORY_LIMIT,
                }
            },
            "run": {"workers": 1},
        }
        data = Path(folder) / "data"
        with Project.open(configuration, data=data) as project:
            spent, processor = {}, 0.0
            for step in ("fetch", "calibrate", "reduce:astep"):
                busy, start = _processor(), time.perf_counter()
                summary = project.run(step=step, progress=partial(_tell, data))
                spent[step], processor = time.perf_counter() - start, _processor() - busy
                if summary.failures:
                    msg = f"the run failed, so its time says nothing: {summary.failures[0]}"
                    raise RuntimeError(msg)
            if summary.counts["reduce:astep"]["done"] != frames:
                msg = f"{dict(summary.counts['reduce:astep'])} of {frames} frames"
                raise RuntimeError(msg)
    peaks = [
        resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    ]
    return Measured(spent["calibrate"], spent["reduce:astep"], processor, *peaks)


def _tell(data: Path, step: str, total: int, counts: Mapping[str, int]) -> None:
    """Remove what was made, and print the peak of memory at each tenth of the frames, to standard error."""
    for path in (data / "products").glob("*/*_calibrated.*.fits"):
        path.unlink()
    done = sum(counts.values())
    if step.startswith("reduce") and done and (done * 10 // total) != ((done - 2) * 10 // total):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{done} of {total} frames, peak {peak:.0f} MB, {time.strftime('%H:%M:%S')}",
            file=sys.stderr,
            flush=True,
        )


def limit(few: Path, side: int, rounds: int = 6) -> float:
    """Return the seconds that reading a raw frame and writing a product of its size take, without any work."""
    raws = sorted(few.rglob("*_SCIENCE.fits"))
    product = np.random.default_rng(2).bytes(side * side * PRODUCT_BYTES)
    start = time.perf_counter()
    for number in range(rounds):
        raws[number % len(raws)].read_bytes()
        with (few.parent / "product").open("wb") as stream:
            stream.write(product)
            stream.flush()
            os.fsync(stream.fileno())
    spent = (time.perf_counter() - start) / rounds
    (few.parent / "product").unlink()
    return spent


def _processor() -> float:
    """Return the processor time of this process and of the workers that ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def main() -> None:
    """Measure each number of frames and print a line for it."""
    side = int(sys.argv[1]) if len(sys.argv) > 1 else SIDE
    numbers = [int(word) for word in sys.argv[2:]] or list(FRAMES)
    print(
        f"frames of {side} x {side}, one worker, cosmic_rays: {COSMIC_RAYS}, memory_limit: {MEMORY_LIMIT:g}"
    )
    with tempfile.TemporaryDirectory(prefix="vo_bench_") as name:
        few = Path(name) / "few"
        make(few, side)
        for frames in numbers:
            least = limit(few, side)
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                one = pool.submit(measure, few, frames).result()
            print(
                f"{frames:5} frames: {frames / one.frames:6.3f} frames/s by the wall,"
                f" {frames / one.processor:6.3f} per processor second; read and write alone {1 / least:6.3f} frames/s"
                f" ({one.frames / frames / least:.1f} x); masters {one.masters:.1f} s;"
                f" peak of parent {one.parent:.0f} MB, of a child {one.child:.0f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
