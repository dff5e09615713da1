"""Drift exposures at their real size: a CCD from its file to samples and search; a night of all CCDs to its tasks.

A CCD of 2046 x 4094 pixels with 5000 trails is simulated as the Community Pipeline writes it, alone in its file and
with others, and goes the whole way in processes of its own, one after the other: catalogue; reduction, detrending and
search. Each is what workers are forked from, and tells the highest memory it ever had (`VmHWM`), what it imported
included. Processes before them compile what is not compiled yet: that takes memory as well, and is done once. Then a
night of many exposures of 61 CCDs, of few pixels each, is registered by a project and its tasks are planned; nothing
of it is measured.

Usage: python benchmarks/bench_driftscan.py [trails] [exposures of the night] [CCDs of the larger file]
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from virtualobserver.analyses.driftscan import Driftscan
from virtualobserver.data import Target
from virtualobserver.data.handles import Handle, MemoryHandle, as_handle
from virtualobserver.data.product import Aux, RawRef
from virtualobserver.data.table import Table
from virtualobserver.observatories.decam import VirtualDECam
from virtualobserver.observatories.decam.folder import find_exposures, raws_of
from virtualobserver.observatories.decam.simulate import SimulationSettings, simulate
from virtualobserver.observatories.decam.simulate.files import exposure_bytes, file_name, write_exposure
from virtualobserver.observatories.decam.simulate.headers import moment_of
from virtualobserver.observatories.decam.simulate.sky import CCD_NUMBERS

SHAPE = (4094, 2046)
TRAILS, NIGHT, CCDS = 5000, 400, 8
FIELD = Target("LMC", ra=92.253, dec=-70.7387, kind="field")
Answer = TypeVar("Answer")
DEAD = "N30"
"""61 of the 62 CCDs are in a file of that time."""


def make(folder: Path, trails: int, ccds: int) -> None:
    """Write a pointed exposure in r of one CCD, and a drift exposure of it alone and beside others."""
    rng = np.random.default_rng(1)
    sim = SimulationSettings(
        exposures=1,
        ccds=["N24"],
        size=SHAPE,
        density=trails / (SHAPE[0] * SHAPE[1] / 1e6),
        mag=(15.0, 22.0),
        steps=10,
    )
    for exposure in simulate(FIELD, rng, sim):
        if exposure.band == "g":
            continue
        write_exposure(exposure, folder / "one")
        write_exposure(exposure, folder / "many") if exposure.band == "r" else None
        if exposure.band == "VR":
            (own,) = exposure.ccds
            others = [replace(own, name=name) for name in list(CCD_NUMBERS)[: ccds - 1] if name != own.name]
            write_exposure(replace(exposure, ccds=(*others, own)), folder / "many")


def peak() -> float:
    """Return the highest memory of this process so far, MB: of `getrusage` a child has that of its parent as well."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Clock:
    """Says what each step took: seconds by the wall and of processor time, and the peak of memory so far."""

    def __init__(self, *, silent: bool = False) -> None:
        self.wall, self.busy, self.silent = time.perf_counter(), time.process_time(), silent

    def told(self, step: str) -> None:
        """Print what a step took, and begin the next one."""
        wall, busy = time.perf_counter() - self.wall, time.process_time() - self.busy
        if not self.silent:
            print(
                f"   {step:32} {wall:7.2f} s, {busy:7.2f} s of processor, peak {peak():5.0f} MB", flush=True
            )
        self.wall, self.busy = time.perf_counter(), time.process_time()


def raws_in(folder: Path, survey: VirtualDECam, band: str) -> list[RawRef]:
    """Return the planes of the exposure in a band."""
    (one,) = (one for one in find_exposures([folder], survey.settings) if one.facts["band"] == band)
    return [RawRef.of(raw) for raw in raws_of(one, survey.settings)]


def catalogue(folder: Path, *, silent: bool = False) -> Handle[Table]:
    """Make the catalogue of the pointed frame."""
    survey, clock = VirtualDECam(ccd=["N24"]), Clock(silent=silent)
    raws = raws_in(folder, survey, "r")
    clock.told("imports and listing")
    (product,) = survey.calibrate(raws, Aux(FIELD), survey.settings)
    clock.told("catalogue of the pointed frame")
    handle = as_handle(product)
    return MemoryHandle(handle.load(), replace(handle.info, unit=survey.unit(raws[0])))


def measure(folder: Path, reference: Handle[Table], *, silent: bool = False) -> None:
    """Measure a CCD of the drift exposure, twice, as a worker does exposure after exposure."""
    survey, analysis, clock = VirtualDECam(ccd=["N24"]), Driftscan(), Clock(silent=silent)
    raws = raws_in(folder, survey, "VR")
    clock.told("imports and listing")
    aux = Aux(FIELD, masters=survey.choose([reference], raws[0]))
    for again in ("first", "second"):
        products = survey.reduce(raws, aux, survey.settings)
        clock.told(f"file to samples, {again}")
        more = survey.refine("detrend", [as_handle(product) for product in products], aux, survey.settings)
        handles = [as_handle(one) for one in [*products, *more] if one.role in {"detrended", "spots"}]
        clock.told(f"detrending, {again}")
        found = analysis.find(handles, Aux(FIELD), analysis.settings)
        clock.told(f"search, {again}")
        count = found.properties["n_trails"], found.properties["n_searched"], len(found.detections)
        del products, more, handles, found  # a worker has them stored by now
    if not silent:
        print(f"   {count[0]} trails, {count[1]} searched, {count[2]} detections", flush=True)


def write_night(folder: Path, exposures: int) -> int:
    """Write a night of all CCDs, few pixels each: one exposure, and copies with other numbers and times."""
    names = [name for name in CCD_NUMBERS if name != DEAD]
    sim = SimulationSettings(
        exposures=1,
        ccds=names,
        size=(30, 40),
        density=0,
        events=0,
        flashes=0,
        satellites=0,
        cosmic_rays=0,
        bad_columns=0,
    )
    count = 0
    for exposure in simulate(FIELD, np.random.default_rng(2), sim):
        place = folder / exposure.night
        place.mkdir(parents=True, exist_ok=True)
        if exposure.band != "VR":
            write_exposure(exposure, folder)
            continue
        products = {product: exposure_bytes(exposure, product) for product in ("image", "dqmask", "wtmap")}
        for number in range(exposures):
            other = replace(exposure, expnum=exposure.expnum + number, mjd=exposure.mjd + number * 50 / 86400)
            changed = {
                "EXPNUM": str(other.expnum),
                "MJD-OBS": repr(other.mjd),
                "DATE-OBS": moment_of(other.mjd).isoformat(),
            }
            for product, content in products.items():
                (place / file_name(other, product)).write_bytes(with_cards(content, changed))
            count += 1
    return count * len(names)


def with_cards(content: bytes, changed: dict[str, str]) -> bytes:
    """Return a FITS file with other values of some cards of its primary header."""
    head = bytearray(content[:28800])
    for key, value in changed.items():
        at = head.index(f"{key:8}=".encode())
        word = f"'{value[:23]}'" if key.startswith("DATE") else value[:20]
        head[at + 10 : at + 80] = f"{word:<70}".encode()
    return bytes(head) + content[28800:]


def busy() -> float:
    """Return processor time of this process and of the children that have ended."""
    return sum(
        one.ru_utime + one.ru_stime
        for one in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def night(folder: Path, units: int) -> None:
    """Register a night in a project and plan its reduction."""
    from virtualobserver import Project  # workers have no front door

    os.environ.pop("VO_DATABASE_URL", None)  # only ever the throw-away server
    configuration = {
        "name": "bench_drift",
        "catalog": {"rows": [{"name": "LMC", "ra": FIELD.ra, "dec": FIELD.dec, "kind": "field"}]},
        "observatories": {"decam": {"archive": str(folder / "raw")}},
        "run": {"workers": 2},
    }
    with Project.open(configuration, data=folder / "data") as project:
        start, before = time.perf_counter(), busy()
        summary = project.run(step="fetch")
        registered, spent = time.perf_counter() - start, busy() - before
        start = time.perf_counter()
        project.run(step="reduce:decam", only=["nobody"])  # plans all, and does none
        planned = time.perf_counter() - start
        start = time.perf_counter()
        project.run(step="fetch")
        again = time.perf_counter() - start
        rows = project.sql("SELECT count(*) AS n FROM raw_data")["n"][0]
        tasks = project.sql("SELECT count(*) AS n FROM task WHERE step = 'reduce:decam'")["n"][0]
    print(
        f"night of {units} units, {rows} rows of raw data: registered in {registered:.1f} s "
        f"({spent:.1f} s of processor without that of the database), {tasks} tasks planned in "
        f"{planned:.1f} s, looked at again in {again:.1f} s; failures {len(summary.failures)}; peak of the driver "
        f"{peak():.0f} MB, of a child {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f} MB"
    )


def measure_all(folder: Path, ccds: int) -> None:
    """Measure each step in a process of its own, after one that compiles."""
    reference = alone(catalogue, folder / "one", silent=True)
    alone(measure, folder / "one", reference, silent=True)
    print(f"pointed frame of {SHAPE[1]} x {SHAPE[0]}", flush=True)
    alone(catalogue, folder / "one")
    for which, title in (("one", 1), ("many", ccds)):
        print(f"file of {title} CCDs of {SHAPE[1]} x {SHAPE[0]}", flush=True)
        alone(measure, folder / which, reference)


def hatch() -> None:
    """Make a process what workers are forked from."""
    from virtualobserver.run import nursery  # noqa: F401


def alone(work: Callable[..., Answer], *given: object, **options: bool) -> Answer:
    """Return what a function returns in a new process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), hatch) as pool:
        return pool.submit(work, *given, **options).result()


def main() -> None:
    numbers = [int(word) for word in sys.argv[1:]]
    trails, exposures, ccds = (numbers + [TRAILS, NIGHT, CCDS][len(numbers) :])[:3]
    with tempfile.TemporaryDirectory(prefix="vo_bench_") as name:
        folder = Path(name)
        if trails:
            make(folder, trails, ccds)
            measure_all(folder, ccds)
        if exposures:
            night(folder, write_night(folder / "raw", exposures))


if __name__ == "__main__":
    main()
