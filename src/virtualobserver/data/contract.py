"""What a survey or an analysis says about itself so that the contract suite can try it.

The suite is `virtualobserver.testing`. These declarations give it what it cannot know: which targets and options
make a small example, what pure noise looks like, which events are too strong to be missed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from virtualobserver.data.handles import Container
from virtualobserver.data.image import Image
from virtualobserver.data.product import Aux, Product, RawRef, Target
from virtualobserver.data.spectrum import SpectrumSet
from virtualobserver.data.table import Table
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.errors import DataError
from virtualobserver.typing import Record, RecordDict

__all__ = ["AnalysisContract", "SurveyContract", "fingerprint", "noise_of"]

STAR = Target("contract star", ra=150.0, dec=20.0, mag=16.0)


def _files_of(_: Target, raws: Sequence[RawRef]) -> Mapping[str, bytes]:
    """Return a file for each piece of raw data, named by its identity in the archive."""
    named = {raw.archive_id.removesuffix(f".{raw.format}") + f".{raw.format}": raw for raw in raws}
    return {name: raw.read() for name, raw in named.items()}


@dataclass(frozen=True)
class SurveyContract:
    """How to try a survey.

    Parameters
    ----------
    targets
        Whose data `simulate_raw` makes.
    options
        Settings that keep the simulated data small.
    services
        From the survey and the simulated raw data to the services that `reduce` needs (reference catalogue,
        solver). Masters the suite makes itself, with `calibrate` and `choose`.
    files
        From a target and its simulated raw data to the files of a folder archive that holds them: path below the
        folder to content, the last one such that the others are an archive without it.
    indexes
        Those of `files` that are no raw data but say where these are; all others have to be fetched.
    own_columns
        Columns of its products that are its own: `virtualobserver.columns` has no entry for them.
    """

    targets: Sequence[Target] = (STAR,)
    options: Record = field(default_factory=dict)
    services: Callable[[Any, Sequence[RawRef]], Record] | None = None
    files: Callable[[Target, Sequence[RawRef]], Mapping[str, bytes]] = _files_of
    indexes: Sequence[str] = ()
    own_columns: Sequence[str] = ()


@dataclass(frozen=True)
class AnalysisContract:
    """How to try an analysis.

    Parameters
    ----------
    false_alarms
        The stated rate: in this fraction of inputs of pure noise something is detected, at most.
    trials
        Number of such inputs to try.
    noise
        From a random generator to one input of pure noise: containers or products, as `find` gets them. By
        default `noise_of` each kind in `requires`; an analysis of tables has to give it.
    options
        Settings under which all is tried.
    strong
        Further settings under which `draw` gives only events that have to be found.
    recovered
        The fraction of these that is found, at least.
    injections
        Number of such events to try.
    aux
        What `find` gets besides the products.
    own_columns
        Columns of its products that are its own: `virtualobserver.columns` has no entry for them.
    """

    false_alarms: float = 0.02
    trials: int = 200
    noise: Callable[[np.random.Generator], Sequence[Product]] | None = None
    options: Record = field(default_factory=dict)
    strong: Record = field(default_factory=dict)
    recovered: float = 0.9
    injections: int = 10
    aux: Aux = field(default_factory=lambda: Aux(STAR))
    own_columns: Sequence[str] = ()


def noise_of(kind: str, rng: np.random.Generator) -> Container:
    """Return a small container of pure Gaussian noise on a constant.

    Parameters
    ----------
    kind
        ``lightcurve`` (200 epochs at 1000 ± 10 µJy), ``spectrum`` (20 spectra of 400 pixels at 1 ± 0.01 between
        390 and 400 nm) or ``image`` (64 by 64 pixels at 100 ± 10 electrons).

    Raises
    ------
    DataError
        For another kind: what noise is in a table only its analysis knows.
    """
    if kind == "lightcurve":
        columns = {
            "mjd": np.sort(rng.uniform(58000, 58300, 200)),
            "flux": rng.normal(1000, 10, 200),
            "flux_error": np.full(200, 10.0),
            "flags": np.zeros(200, dtype=np.int64),
            "exptime": np.full(200, 30.0),
        }
        return TimeSeries(columns, band="g")
    if kind == "spectrum":
        shape = (20, 400)
        return SpectrumSet(
            wave=np.linspace(3900.0, 4000.0, shape[1]),
            flux=rng.normal(1.0, 0.01, shape),
            error=np.full(shape, 0.01),
            mask=np.zeros(shape, dtype=np.int64),
            epochs=Table({"mjd": np.sort(rng.uniform(58000, 58300, shape[0]))}),
        )
    if kind == "image":
        shape = (64, 64)
        header = {"EXPTIME": 30.0, "MJD-OBS": 58000.0}
        return Image(rng.normal(100, 10, shape), np.full(shape, 100.0), header=header, unit="electron")
    msg = f"there is no noise of kind {kind!r}; give `contract = AnalysisContract(noise=...)` in the analysis"
    raise DataError(msg)


def fingerprint(data: Container) -> str:
    """Return a SHA-256 over all a container holds: names, types, shapes, bits, units and facts."""
    digest = hashlib.sha256()
    for name, value in sorted(_parts(data).items()):
        digest.update(name.encode() + b"\0")
        if isinstance(value, np.ndarray):
            text = value.astype("U") if value.dtype.kind in "OS" else value
            if text.dtype.kind == "U":  # room kept for longer texts of other rows is no content
                text = text.astype(f"U{max(int(np.char.str_len(text).max(initial=0)), 1)}")
            digest.update(f"{text.dtype.str}{text.shape}".encode())
            digest.update(np.ascontiguousarray(text).tobytes())
        else:
            digest.update(json.dumps(value, sort_keys=True, default=str).encode())
    return digest.hexdigest()


def _parts(data: Container) -> RecordDict:
    parts: RecordDict = {"kind": data.kind}
    for name, value in vars(data).items():
        if name == "columns":
            parts |= {f"column {column}": values for column, values in value.items()}
        elif isinstance(value, Table):
            parts[name] = fingerprint(value)
        else:
            parts[name] = dict(value) if isinstance(value, Mapping) else value
    return parts
