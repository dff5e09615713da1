"""The per-star tree of the published scripts, read as an archive; the way out ``harps_dataset`` writes it.

::

    <star>/spec/sK.npy, sH.npy              flux, shape (n, 2000), float64
    <star>/wavelength/wK.npy, wH.npy        wavelengths in air, Å, shape (2000,)
    <star>/wavelength/rvK.npy, rvH.npy      velocities, c = 3e5 km/s
    <star>/meta/fits.npy                    file names
    <star>/meta/group_df.pkl                a pandas table: one row for each spectrum
    <star>/meta/group_df.csv                the same, which anybody can read

The pickle is never read: it could run anything.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.data.product import Raw, RawRef
from virtualobserver.errors import InvalidFile
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.spectra import flags
from virtualobserver.maths.spectra.noise import spike_mask
from virtualobserver.observatories.harps.header import Facts
from virtualobserver.observatories.harps.reader import Exposure
from virtualobserver.typing import Record, RecordDict

__all__ = ["FORMAT", "exposures", "is_star", "raws"]

FORMAT: Final = "npy"
_LINES: Final = ("K", "H")
_FILES: Final = ("spec/s{}.npy", "wavelength/w{}.npy")


def is_star(folder: Path) -> bool:
    """Say whether a folder is that of one star in such a tree."""
    return (folder / "spec" / "sK.npy").is_file() or (folder / "spec" / "sH.npy").is_file()


def raws(folder: Path) -> Iterator[Raw]:
    """Yield the files of one star that are needed, where they lie."""
    parts = [pattern.format(line) for line in _LINES for pattern in _FILES]
    for part in [*parts, "meta/fits.npy", "meta/group_df.csv"]:
        path = folder / part
        if path.is_file():
            kind = "csv" if path.suffix == ".csv" else FORMAT
            header = {"store": "windows", "tree": folder.name, "part": part}
            yield Raw(f"{folder.name}/{part}", kind, path=path, in_place=True, header=header)


def _load(raw: RawRef) -> Array:
    try:
        array: Array = np.load(io.BytesIO(raw.read()), allow_pickle=False)
    except ValueError as error:
        reason = "holds Python objects, which are never loaded" if "pickle" in str(error) else str(error)
        msg = f"{raw.archive_id}: {reason}"
        raise InvalidFile(msg) from None
    return array


def exposures(found: Sequence[RawRef]) -> list[Exposure]:
    """Return the spectra of one star of a tree; dates come from ``meta/group_df.csv``.

    Raises
    ------
    InvalidFile
        If arrays do not fit together or hold objects.
    """
    parts = {str(raw.header.get("part", "")): raw for raw in found}
    pieces = []
    for line in _LINES:
        flux_raw, wave_raw = parts.get(f"spec/s{line}.npy"), parts.get(f"wavelength/w{line}.npy")
        if flux_raw is None or wave_raw is None:
            continue
        flux, wave = np.atleast_2d(_load(flux_raw)).astype(np.float64), _load(wave_raw).astype(np.float64)
        if flux.shape[1] != wave.size:
            msg = f"{flux_raw.archive_id}: {flux.shape[1]} pixels for {wave.size} wavelengths"
            raise InvalidFile(msg)
        pieces.append((wave, flux))
    if not pieces:
        return []
    count = len(pieces[0][1])
    if any(len(flux) != count for _, flux in pieces):
        msg = f"{found[0].archive_id}: K and H hold different numbers of spectra"
        raise InvalidFile(msg)
    rows = _rows(parts, count)
    names = _names(parts, count)
    return [_exposure(names[n], rows[n], [(wave, flux[n]) for wave, flux in pieces]) for n in range(count)]


def _names(parts: Mapping[str, RawRef], count: int) -> list[str]:
    raw = parts.get("meta/fits.npy")
    names = []
    if raw is not None:
        try:
            names = [Path(str(name)).name for name in np.atleast_1d(_load(raw))]
        except InvalidFile:
            names = []  # written from a list of objects: the spectra are good without their names
    return names if len(names) == count else [f"spectrum {n + 1}" for n in range(count)]


def _rows(parts: Mapping[str, RawRef], count: int) -> list[RecordDict]:
    raw = parts.get("meta/group_df.csv")
    if raw is None:
        return [{} for _ in range(count)]
    import pandas as pd

    frame = pd.read_csv(io.BytesIO(raw.read()))
    if len(frame) != count:
        msg = f"{raw.archive_id}: {len(frame)} rows for {count} spectra"
        raise InvalidFile(msg)
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]


def _exposure(
    name: str, row: Record, pieces: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]
) -> Exposure:
    facts = Facts(instrument="HARPS", mode="HARPS", object=str(row.get("Object", "")))
    for key, column in (
        ("mjd", "MJD"), ("exptime", "Exptime"), ("rv", "CCF RV"), ("berv", "BERV"), ("snr_header", "SNR"),
        ("ra", "RA"), ("dec", "Dec"),
    ):  # fmt: skip
        value = row.get(column)
        if isinstance(value, int | float) and np.isfinite(value):
            setattr(facts, key, float(value))
    exposure = Exposure(name, facts)
    if not np.isfinite(facts.mjd):
        exposure.note(flags.QUALITY_KEYWORD, "no date: meta/group_df.csv with a column MJD is missing")
    exposure.wave = np.concatenate([wave for wave, _ in pieces])
    exposure.flux = np.concatenate([flux for _, flux in pieces])
    exposure.mask = np.concatenate([spike_mask(flux) for _, flux in pieces]).astype(np.uint16)
    return exposure
