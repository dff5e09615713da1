"""Flashes put into tables of spots: anywhere on a chip, on the trail of a star or off all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from virtualobserver.analyses.driftscan.settings import InjectionSettings
from virtualobserver.conventions import ARCSEC_PER_DEGREE, SECONDS_PER_DAY, SIGMA_TO_FWHM
from virtualobserver.data.handles import Handle
from virtualobserver.data.result import Event
from virtualobserver.data.table import Table
from virtualobserver.maths.trails.flashes import flash_spot
from virtualobserver.maths.trails.track import TrackModel
from virtualobserver.typing import Record, RecordDict, Value

__all__ = ["FLASH", "Chip", "chips_of", "draw_flash", "flash_recovered", "with_flash"]

FLASH = "flash"
_WINGS = 4.765
"""Index of the profile where wings were not measured, those of turbulence alone (Trujillo et al. 2001, MNRAS 328, 977):
no star has less, and a Gaussian would state flashes a sixth too bright."""
_SAME = 3.0
"""Pixels within which spots are one, as in `Driftscan.same_event`; the place of the faintest is good to 0.4."""


@dataclass(frozen=True, eq=False)
class Chip:
    """One CCD in which flashes can be put: number of its product, its spots, and what of the sky it watched.

    `watched` is in square degrees times hours, None if the table does not say it.
    """

    product: int
    table: Table
    watched: float | None

    @classmethod
    def of(cls, product: int, table: Table) -> Chip:
        """Return the CCD of a table."""
        meta = table.meta
        shape, scale = meta.get("shape"), meta.get("scale")
        if not (shape and scale):
            return cls(product, table, None)
        area = shape[0] * shape[1] * (float(scale) / ARCSEC_PER_DEGREE) ** 2
        return cls(product, table, area * float(meta["exptime"]) / 3600)

    def place(self, number: int) -> dict[str, float]:
        """Return one place of the map; NaN is what is not known."""
        values = {name: column[number] for name, column in self.table.meta["flash_map"].items()}
        return {name: np.nan if value is None else value for name, value in values.items()}


def chips_of(products: Sequence[Handle[Table]]) -> list[Chip]:
    """Return the CCDs whose spots say what a flash would look like."""
    tables = [(number, one.load()) for number, one in enumerate(products) if one.info.role == "spots"]
    return [Chip.of(number, table) for number, table in tables if table.meta.get("flash_map")]


def draw_flash(rng: np.random.Generator, chips: Sequence[Chip], settings: InjectionSettings) -> RecordDict:
    """Draw a flash: CCD and place evenly, light evenly in the logarithm.

    Both meanings of its place are told: the star on whose trail it lies (`host`) with the time at which that was there,
    and, as nothing else is seen of any other star, the whole exposure. On masked pixels it is not covered.
    """
    chip = chips[int(rng.integers(len(chips)))]
    meta = chip.table.meta
    number = int(rng.integers(len(meta["flash_map"]["x"])))
    fluence = float(np.exp(rng.uniform(*np.log(settings.fluence))))
    place, exptime = chip.place(number), float(meta["exptime"])
    hosted = bool(np.isfinite(place["host_time"]))
    time = float(place["host_time"]) if hosted else float(rng.uniform(0.0, exptime))
    start, seeing = float(meta["mjd_start"]), _seeing(meta)
    event: RecordDict = {
        "kind": FLASH, "product": chip.product, "place": number, "x": float(place["x"]), "y": float(place["y"]),
        "fluence": fluence, "seeing": seeing, "amplitude": fluence, "width": seeing, "t0": time,
        "on": "trail" if hosted else "sky", "t_peak": start + time / SECONDS_PER_DAY, "start_mjd": start,
        "end_mjd": start + exptime / SECONDS_PER_DAY,
    }  # fmt: skip
    if np.isfinite(place["flux_error"]):
        event["ideal_snr"] = fluence / float(place["flux_error"])
    if hosted:
        event["host"] = int(place["host"])
    watched = [one.watched for one in chips if one.watched is not None]
    return event | ({"exposure": sum(watched)} if len(watched) == len(chips) else {})


def with_flash(table: Table, event: Record, rng: np.random.Generator) -> Table:
    """Return a table of spots with the row that a flash has in it; as it is where the flash is not found."""
    meta = table.meta
    beta = meta.get("beta")
    # a pixel a second along: of the track, only where it leads and how far bears on a spot
    angle, direction = float(meta.get("angle") or 0.0), int(meta.get("direction") or 1)
    track = TrackModel(float(meta["speed"]), float(meta["exptime"]), 1.0, angle, direction)
    row = flash_spot(
        Chip.of(0, table).place(int(event["place"])),
        float(event["fluence"]),
        rng,
        sigma=float(meta["sigma"]),
        beta=_WINGS if beta is None else float(beta),
        track=track,
        threshold=float(meta["threshold"]),
    )
    if row is None:
        return table
    columns = {
        name: np.append(values, _as(values.dtype, row.get(name))) for name, values in table.columns.items()
    }
    order = np.argsort(-columns["snr"], kind="stable")
    return Table({name: values[order] for name, values in columns.items()}, table.units, meta)


def flash_recovered(params: Record, event: Event) -> bool:
    """Whether an event is a flash at that place."""
    away = np.hypot(
        event.parameters.get("x", np.inf) - params["x"], event.parameters.get("y", np.inf) - params["y"]
    )
    return bool(event.kind == FLASH and event.product == params["product"] and away < _SAME)


# --- inside -----------------------------------------------------------------------------------------------


def _as(dtype: np.dtype, value: Value) -> np.ndarray:
    """Return a value of a column, what means nothing where there is none."""
    nothing = np.nan if dtype.kind == "f" else np.zeros(1, dtype)[0]
    return np.array([nothing if value is None else value], dtype)


def _seeing(meta: Record) -> float:
    """Return the FWHM of a star in arcsec, in pixels where the table does not say how large these are."""
    return float(meta.get("seeing") or SIGMA_TO_FWHM * float(meta["sigma"]))
