"""The analysis: samples and spots of an exposure in; pulses, dips and spots with their reasons, out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from virtualobserver.analyses.driftscan.flashes import FLASH, flash_recovered
from virtualobserver.analyses.driftscan.injection import draw_events, inject_events, light_of
from virtualobserver.analyses.driftscan.panels import event_panels, statistics_panel
from virtualobserver.analyses.driftscan.samples import Trails, trails_of
from virtualobserver.analyses.driftscan.settings import DriftscanSettings
from virtualobserver.analyses.driftscan.spotevents import ToldSpots, no_streaks, spot_events, tell_spots
from virtualobserver.analyses.driftscan.vetoes import reasons_of
from virtualobserver.analysis import Analysis, Requirement
from virtualobserver.conventions import FLAG_UNCONFIRMED, SECONDS_PER_DAY
from virtualobserver.data.contract import AnalysisContract
from virtualobserver.data.handles import Handle
from virtualobserver.data.panels import Panel
from virtualobserver.data.product import Aux, Product, Target
from virtualobserver.data.result import Event, Found, Result
from virtualobserver.data.table import Table
from virtualobserver.maths.trails.bank import BANK
from virtualobserver.maths.trails.flashes import flash_map
from virtualobserver.maths.trails.search import Best, TrailSearch, search_trails
from virtualobserver.maths.trails.spotclass import CLASSES
from virtualobserver.maths.trails.spots import SPOT_COLUMNS
from virtualobserver.maths.trails.track import TrackModel
from virtualobserver.typing import Record, RecordDict

__all__ = ["Driftscan", "Searched"]

PULSE: Final = "pulse"
DIP: Final = "dip"
_STARS_A_SEARCH: Final = 100
"""Trails for each event of one search of injected ones: their times then seldom coincide."""
_MOST_TOGETHER: Final = 20
"""Events of one such search."""
_LIT: Final = 0.5
"""Of the height of the form at its best sample, above which a sample has anything of an injected event."""


@dataclass(frozen=True, eq=False)
class Searched:
    """One CCD that was searched: number of its product, its trails and what was found in them."""

    product: int
    trails: Trails
    search: TrailSearch

    def best(self, kind: str) -> Best:
        """Return what was found of pulses or dips."""
        return self.search.pulses if kind == PULSE else self.search.dips


def _noise(rng: np.random.Generator) -> list[Product[Table]]:
    """Return the samples of 40 steady stars of one CCD, and no spot, but what flashes would look like."""
    n, samples, speed, mean = 40, 32, 1.9, rng.uniform(300, 3e4, 40)
    number = np.repeat(np.arange(n), samples)
    time = 1.5 + (np.tile(np.arange(samples), n) + rng.uniform(0, 1, n)[number]) / speed
    error = np.sqrt(mean[number] * speed + 4e3)
    flux = mean[number] + error * rng.normal(size=len(number))
    columns = {
        "star_id": number + 1000, "trail": number, "mjd": 59559.1 + time / SECONDS_PER_DAY, "time": time, "flux": flux,
        "flux_error": error, "sky": np.full(len(number), 100.0), "flags": np.zeros(len(number), np.int64),
        "phase": np.zeros(len(number)), "flat": np.ones(len(number), bool), "trend": np.ones(len(number)),
        "relative": flux / mean[number], "relative_error": error / mean[number],
    }  # fmt: skip
    meta = {
        "exposure": "1", "ccd": "N1", "exptime": 20.0, "mjd_start": 59559.1, "speed": speed, "sigma": 1.7, "band": "VR",
        "n_trails": n,
    }  # fmt: skip
    spots = {name: np.zeros(0) for name in SPOT_COLUMNS}
    sky = np.broadcast_to(470.0, (2000, 2000))
    dark = flash_map(sky, None, sigma=1.7, track=TrackModel(speed, 20.0, 1.0), number=25)
    about = {"threshold": 6.0, "flash_map": {name: values.tolist() for name, values in dark.items()}}
    return [
        Product(Table(columns, meta=meta), role="detrended"),
        Product(Table(spots, meta=meta | about), role="spots"),
    ]


class Driftscan(Analysis[Table, DriftscanSettings]):
    """Pulses and dips of a fraction of a second and longer along star trails, and spots beside them.

    The telescope moves, so that time lies along each star's trail. Forms of a bank, drawn out by the image of the star,
    are compared with the samples of all trails of a CCD; probabilities count all trails, times and forms of the
    exposure and are measured on noise. The strongest of the other sign stands beside each event as a control. Reasons
    that speak against an event are named, and it is kept. Spots are told by form, lines and masks. No class is called
    lensing: what a pulse can be and cannot be stands in docs/driftscan.md.
    """

    name: ClassVar[str] = "driftscan"
    version: ClassVar[str] = "5"
    requires: ClassVar[tuple[Requirement, ...]] = (
        Requirement(kind="table", role="detrended"),
        Requirement(kind="table", role="spots"),
    )
    requires_any: ClassVar[bool] = True
    per: ClassVar[str] = "exposure"
    batch: ClassVar[int] = 1
    strength: ClassVar[tuple[str, ...]] = ("ideal_snr", "duration")
    axes: ClassVar[Mapping[str, str]] = {
        "ideal_snr": "S/N for who knows form and time", "duration": "duration [s]",
        "fluence": "fluence [electron]", "seeing": "seeing [arcsec]",
    }  # fmt: skip
    rate_unit: ClassVar[str] = "star h"
    strengths: ClassVar[Mapping[str, tuple[str, ...]]] = {FLASH: ("fluence", "seeing")}
    rate_units: ClassVar[Mapping[str, str]] = {FLASH: "deg2 h"}
    contract: ClassVar[AnalysisContract] = AnalysisContract(
        false_alarms=0.04,  # twice `false_alarm`, for pulses and dips, and what 200 trials scatter
        noise=_noise,
        strong={
            "simulate": {"snr": [15.0, 20.0], "duration": [0.5, 2.0], "dips": 0.0, "fluence": [1e4, 5e4]}
        },
    )

    def find(self, products: Sequence[Handle[Table]], aux: Aux, settings: DriftscanSettings) -> Result:
        """Search the CCDs of one exposure.

        Returns
        -------
        Result
            Events of kind ``pulse`` and ``dip``, whose `snr` is signed and whose sources are stars; parameters
            ``star_id, ccd, time`` and ``time_error`` (s since the shutter), ``amplitude`` and error (mean light of the
            star = 1), ``duration`` (s), ``fluence`` (amplitude times duration, s), ``shape, p_trail, p_global, control,
            coincident`` (other stars with an event of this sign within `coincidence`), ``class`` (``candidate``, or
            ``doubtful`` with ``reasons``), and ``mag`` where the table has it. Spots have their class as kind.
            Properties count trails, events, spots of each class, and say threshold and false alarms expected.
        """
        searched = search_all(products, aux, settings)
        spots = {
            number: tell_spots(one.load())
            for number, one in enumerate(products)
            if one.info.role == "spots" and len(one.load())
        }
        streaks = {str(told.table.meta.get("ccd") or ""): told.streaks for told in spots.values()}
        trails = sum(int(one.search.searched.sum()) for one in searched)
        events: list[Event] = []
        for kind in (PULSE, DIP) if settings.dips else (PULSE,):
            loud = [
                (one, int(number), float(one.best(kind).time[number]))
                for one in searched
                for number in np.flatnonzero(_significant(one, kind, trails, settings))
            ]
            for one, number, time in loud:
                beside = sum(
                    abs(other - time) <= settings.coincidence and (them is not one or place != number)
                    for them, place, other in loud
                )
                reasons = reasons_of(
                    one.trails, one.best(kind), number, settings, streaks.get(one.trails.ccd, no_streaks())
                )
                if beside >= settings.most_coincident and "common" not in reasons:
                    reasons = ["common", *reasons]
                events.append(_event(one, number, kind, trails=trails, judged=(beside, reasons), aux=aux))
        found = {event.source: _target(event) for event in events}
        for number, told in spots.items():
            events += spot_events(told, settings, number)
        return Result(
            detections=sorted(events, key=lambda event: (event.peak_mjd, event.source or "", event.kind)),
            sources=tuple(Found(target) for target in found.values()),
            properties=_properties(searched, spots, events, trails, settings),
        )

    def draw(
        self, rng: np.random.Generator, products: Sequence[Handle[Table]], settings: DriftscanSettings
    ) -> Record:
        """Draw a pulse or a dip of one star, or a flash anywhere."""
        return self.draw_many([rng], products, settings)[0]

    def draw_many(
        self,
        rngs: Sequence[np.random.Generator],
        products: Sequence[Handle[Table]],
        settings: DriftscanSettings,
    ) -> Sequence[Record]:
        """Draw one event from each generator; the samples are looked at once."""
        return draw_events(rngs, products, settings.simulate)

    def inject(
        self, products: Sequence[Handle[Table]], params: Sequence[Record], rng: np.random.Generator
    ) -> Sequence[Handle[Table]]:
        """Return tables with the events in the flux of their stars, and in what is relative to their mean."""
        return inject_events(products, params, rng)

    def together(self, products: Sequence[Handle[Table]], settings: DriftscanSettings) -> int:  # noqa: ARG002
        """Return one event for 100 trails."""
        trails = sum(
            len(np.unique(one.load()["trail"]))
            for one in products
            if one.info.role == "detrended" and len(one.load())
        )
        return min(max(trails // _STARS_A_SEARCH, 1), _MOST_TOGETHER)

    def covered(self, params: Record, products: Sequence[Handle[Table]]) -> bool:
        """Whether a good sample has half of what the best sample of the event would have.

        Of a flash, whether half of the image of a star there lies on good pixels.
        """
        if params["kind"] == FLASH:
            return "ideal_snr" in params
        trails = trails_of(products[int(params["product"])].load())
        if trails is None:
            return False
        (places,) = np.nonzero(trails.trail == params["trail"])
        form = light_of(trails, int(places[0]), params)
        return bool((form[trails.good[places[0]]] >= _LIT * form.max()).any())

    def recovered(self, params: Record, event: Event) -> bool:
        """Whether an event is of the same star and sign at the same time; a flash, at the same place."""
        if params["kind"] == FLASH:
            return flash_recovered(params, event)
        near = max(1.5, float(params["duration"]))
        return bool(
            event.kind == params["kind"]
            and event.parameters.get("trail") == params["trail"]
            and event.product == params["product"]
            and abs(event.parameters["time"] - params["t0"]) <= near
        )

    def same_event(self, a: Event, b: Event) -> bool:
        """Whether two detections are of one star, or one place, and overlap in time."""
        if not super().same_event(a, b) or a.parameters.get("ccd") != b.parameters.get("ccd"):
            return False
        if "star_id" in a.parameters or "star_id" in b.parameters:
            return bool(a.parameters.get("star_id") == b.parameters.get("star_id"))
        return bool(
            np.hypot(a.parameters["x"] - b.parameters["x"], a.parameters["y"] - b.parameters["y"]) < 3
        )

    def source_panels(
        self, products: Sequence[Handle[Table]], aux: Aux, settings: DriftscanSettings
    ) -> Mapping[str, Sequence[Panel]]:
        """Return how strong the strongest pulses and dips of all trails are."""
        searched = search_all(products, aux, settings)
        return {"statistics": [statistics_panel(searched)]} if searched else {}

    def panels(
        self, products: Sequence[Handle[Table]], aux: Aux, settings: DriftscanSettings, event: Event
    ) -> Sequence[Panel]:
        """Return the samples of a star with the form that was found, and what all stars do; facts alone of a spot."""
        return event_panels(event, search_all(products, aux, settings))


def search_all(products: Sequence[Handle[Table]], aux: Aux, settings: DriftscanSettings) -> list[Searched]:
    """Search every CCD, and say what is left out."""
    found = []
    for number, handle in enumerate(products):
        trails = trails_of(handle.load()) if handle.info.role == "detrended" else None
        if trails is None:
            continue
        search = search_trails(
            trails.grid("relative"), trails.grid("relative_error"), trails.start, step=trails.step, sigma=trails.sigma,
            good=trails.good, calibrate=settings.calibrate,
        )  # fmt: skip
        aux.note("trails with too few good samples to be searched", int((~search.searched).sum()))
        found.append(Searched(number, trails, search))
    return found


# --- inside -----------------------------------------------------------------------------------------------


def _significant(one: Searched, kind: str, trails: int, settings: DriftscanSettings) -> np.ndarray:
    best = one.best(kind)
    chance = one.search.null.chance(best.statistic, trails)
    return np.asarray(one.search.searched & (best.statistic > 0) & (chance <= settings.false_alarm))


def _event(
    one: Searched, number: int, kind: str, *, trails: int, judged: tuple[int, list[str]], aux: Aux
) -> Event:
    best, (coincident, reasons) = one.best(kind), judged
    table = one.trails.table
    time, duration = float(best.time[number]), float(best.duration[number])
    half = one.trails.half_of(duration)
    mjd = one.trails.at("mjd", number, time)
    statistic, amplitude = float(best.statistic[number]), float(best.amplitude[number])
    parameters: RecordDict = {
        "star_id": int(one.trails.star_id[number]), "trail": int(one.trails.trail[number]), "ccd": one.trails.ccd,
        "time": time, "time_error": float(best.time_error[number]), "amplitude": amplitude,
        "amplitude_error": float(best.amplitude_error[number]), "duration": duration, "fluence": amplitude * duration,
        "shape": BANK[int(best.shape[number])].shape, "p_trail": float(best.p_trail[number]),
        "p_global": float(one.search.null.chance(statistic, trails)), "control": float(best.control[number]),
        "coverage": float(best.coverage[number]), "coincident": coincident, "reasons": reasons,
        "class": "doubtful" if reasons else "candidate",
    }  # fmt: skip
    facts = {name: one.trails.fact(name, number) for name in ("ra", "dec", "mag")}
    if facts["mag"] is not None:
        parameters["mag"] = float(facts["mag"])
    ra, dec = (None if facts[name] is None else float(facts[name]) for name in ("ra", "dec"))
    return Event(
        kind=kind, peak_mjd=mjd, start_mjd=mjd - half / SECONDS_PER_DAY, end_mjd=mjd + half / SECONDS_PER_DAY,
        snr=statistic if kind == PULSE else -statistic, score=statistic - float(best.control[number]), ra=ra, dec=dec,
        band=str(table.meta.get("band") or ""), quality=FLAG_UNCONFIRMED if reasons else 0, parameters=parameters,
        product=one.product, source=f"{aux.target.name}_{one.trails.star_id[number]}",
    )  # fmt: skip


def _target(event: Event) -> Target:
    return Target(str(event.source), ra=event.ra, dec=event.dec, mag=event.parameters.get("mag"))


def _properties(
    searched: Sequence[Searched],
    spots: Mapping[int, ToldSpots],
    events: Sequence[Event],
    trails: int,
    settings: DriftscanSettings,
) -> RecordDict:
    kinds = Counter(event.kind for event in events)
    counts: Counter[str] = sum((told.counts for told in spots.values()), Counter())
    stars = [event for event in events if event.kind in {PULSE, DIP}]
    return {
        "n_ccds": len(searched), "n_trails": sum(len(one.trails) for one in searched), "n_searched": trails,
        "n_pulses": kinds[PULSE], "n_dips": kinds[DIP],
        "n_candidates": sum(event.parameters["class"] == "candidate" for event in stars),
        "n_coincident": sum(event.parameters["coincident"] > 0 for event in stars),
        "threshold": _threshold(searched[0].search, trails, settings.false_alarm) if searched else None,
        "false_alarms_expected": settings.false_alarm * (2 if settings.dips else 1) if trails else 0.0,
        "noise_scale": max((one.search.scale for one in searched), default=None),
        "calibrated": bool(searched) and all(one.search.calibrated for one in searched),
        "n_spots": sum(counts.values()), "spots": {name: counts[name] for name in CLASSES},
    }  # fmt: skip


def _threshold(search: TrailSearch, trails: int, false_alarm: float) -> float:
    """Return the S at which noise is found in an exposure with the chance asked for."""
    level = np.linspace(1.0, 12.0, 2201)
    chance = search.null.chance(level, max(trails, 1))
    return float(level[np.argmax(chance <= false_alarm)])
