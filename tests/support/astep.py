"""Nights of small ASTEP frames in a folder, to be changed and broken, and the survey driven without a database."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from virtualobserver.ccd.folder import folder_raws
from virtualobserver.data import RawRef, Target, as_handle
from virtualobserver.data.handles import Handle, MemoryHandle
from virtualobserver.observatories.astep import VirtualASTEP
from virtualobserver.observatory import Aux

SMALL = {
    "frames": 2,
    "size": (64, 72),
    "stars": 12,
    "movers": 1,
    "biases": 3,
    "darks": 5,
    "flats": 5,
    "drift": 0.0,
}
FIELD = Target("field", ra=150.0, dec=-65.0, kind="field")


def write_night(folder: Path, *, seed: int = 1, **simulation: Any) -> Path:
    """Write a simulated night (2010-03-01) in the telescope's layout and return the folder."""
    survey = VirtualASTEP(simulation={**SMALL, **simulation})
    for _, raw in survey.simulate_raw([FIELD], np.random.default_rng(seed)):
        path = folder / raw.archive_id
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw.content)
    return folder


def frames(folder: Path, kind: str, place: str = "*") -> list[Path]:
    """Return the files of a kind, ``SCIENCE`` or ``DARK``, in ``CAMS``, ``CAMS_SKYFLAT`` or both."""
    return sorted(folder.glob(f"*/*-{place}/*_{kind}.fits"))


def change(paths: Iterable[Path], **cards: Any) -> None:
    """Set header cards (``_`` for ``-``); None takes a card out."""
    for path in paths:
        with fits.open(path, mode="update") as units:
            for name, value in cards.items():
                key = name.replace("_", "-")
                if value is None:
                    units[0].header.remove(key, ignore_missing=True)
                else:
                    units[0].header[key] = value
            for key in ("CHECKSUM", "DATASUM"):
                units[0].header.remove(key, ignore_missing=True)


@dataclass
class Driven:
    """What a survey made of a folder: masters by key, frames by unit, and the errors of both."""

    masters: dict[str, Handle]
    frames: dict[str, Any]
    errors: dict[str, Exception]


def drive(folder: Path, plugin: type[Any] = VirtualASTEP, **options: Any) -> Driven:
    """Run fetch, calibrate and reduce on a folder as the run engine does."""
    survey = plugin(archive=str(folder), **options)
    groups: dict[str, list[RawRef]] = {}
    for raw in folder_raws([folder], survey.settings):
        groups.setdefault(survey.unit(RawRef.of(raw)), []).append(RawRef.of(raw))
    done = Driven({}, {}, {})
    for kind in survey.master_kinds:
        before = list(done.masters.values())
        for unit, raws in groups.items():
            if unit.partition("/")[0] == kind:
                aux = Aux(FIELD, masters=survey.choose(before, raws[0]))
                _attempt(done, unit, lambda raws=raws, aux=aux: survey.calibrate(raws, aux, survey.settings))
    for unit, raws in groups.items():
        if unit.partition("/")[0] not in survey.master_kinds:
            aux = Aux(FIELD, masters=survey.choose(list(done.masters.values()), raws[0]))
            _attempt(done, unit, lambda raws=raws, aux=aux: survey.reduce(raws, aux, survey.settings))
    return done


def _attempt(done: Driven, unit: str, work: Callable[[], Any]) -> None:
    try:
        made = work()
    except Exception as error:  # noqa: BLE001 - whatever it is, a test looks at it
        done.errors[unit] = error
        return
    for product in made:
        handle = as_handle(product)
        if product.role == "master":
            done.masters[unit] = MemoryHandle(handle.load(), replace(handle.info, unit=unit))
        else:
            done.frames[unit] = product
