"""The search for periods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

import numpy as np

from virtualobserver.analyses.periods.curve import Merged, merge
from virtualobserver.analyses.periods.injection import draw_period, inject_periods
from virtualobserver.analyses.periods.panels import LEAST_FAP, rotation_panels, sine_panels
from virtualobserver.analyses.periods.settings import LONGEST, SHORTEST, PeriodsSettings
from virtualobserver.analysis import Analysis, Requirement
from virtualobserver.conventions import HOURS_PER_DAY
from virtualobserver.data.contract import AnalysisContract
from virtualobserver.data.curve_panels import event_facts
from virtualobserver.data.handles import Handle
from virtualobserver.data.panels import Panel
from virtualobserver.data.product import Aux, Product
from virtualobserver.data.result import Event, Result
from virtualobserver.data.table import Table
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.errors import NotEnoughData
from virtualobserver.maths.periods.gls import Peak, Periodogram, prewhiten
from virtualobserver.maths.periods.rotation import Rotation, rotation
from virtualobserver.typing import Record

__all__ = ["Periods"]

KIND: Final = "period"
SAME: Final = 0.01
"""Two periods closer than this fraction are one, as are halves and doubles of an injected one."""
RESOLUTION: Final = 0.5
"""Cycles by which two periods part over the span: closer ones have one peak."""
_LONG: Final = {"d": "days", "h": "hours"}
_ROLES: Final = ("reduced", "mover", "asteroid")
_LISTED: Final = 6
"""Candidates in the properties."""


class Periods(Analysis[TimeSeries, PeriodsSettings]):
    """Periods of light curves, of any survey.

    All light curves of a source are searched together, in magnitudes, each with a mean of its own. ``method: gls`` is
    the generalised Lomb-Scargle periodogram with prewhitening; ``method: asteroid`` finds the rotation of a small body:
    Fourier series with own zero points of sessions, light time and distances taken out where the columns
    ``observer_distance``, ``heliocentric_distance`` and ``phase_angle`` are there, double-peaked by default, aliases
    listed and the period graded.
    """

    name: ClassVar[str] = "periods"
    version: ClassVar[str] = "3"
    requires_any: ClassVar[bool] = True
    produces: ClassVar[tuple[tuple[str, str], ...]] = (("table", "periodogram"), ("lightcurve", "folded"))
    strength: ClassVar[tuple[str, ...]] = ("amplitude", "period")
    axes: ClassVar[Mapping[str, str]] = {"amplitude": "amplitude [mag]", "period": "period [h]"}
    contract: ClassVar[AnalysisContract] = AnalysisContract(
        options={"save_processed": True},
        strong={"simulate": {"amplitude": [0.2, 0.5]}},
        noise=lambda rng: [Product(_noise(rng))],
    )

    @property
    def requires(self) -> tuple[Requirement, ...]:  # type: ignore[override]
        """Light curves of the roles that are searched."""
        role = self.settings.role
        return tuple(Requirement(role=one) for one in (_ROLES if role == "any" else (role,)))

    def find(self, products: Sequence[Handle[TimeSeries]], aux: Aux, settings: PeriodsSettings) -> Result:
        """Search all light curves of one source.

        Returns
        -------
        Result
            Events of kind ``period``, from the first to the last epoch, the peak at a maximum of light; parameters
            ``period_days`` and ``period_hours`` with errors, ``amplitude`` (mag, from top to bottom) and ``fap``;
            of ``gls`` ``fap_gls`` (trials counted as GLS programs do), of ``asteroid`` ``grade`` and ``harmonics``.
            Properties are those of the best period, ``n_epochs``, ``secure`` and the other ``candidates``.
        """
        merged = merge(products, settings, aux)
        if merged is None:
            return Result(
                properties={"n_epochs": 0, "reason": f"fewer than {settings.min_epochs} good epochs"}
            )
        try:
            if settings.method == "asteroid":
                return _rotation(merged, settings)
            return _sines(merged, settings)
        except NotEnoughData as error:
            return Result(properties={"n_epochs": len(merged), "reason": str(error)})

    def draw(
        self, rng: np.random.Generator, products: Sequence[Handle[TimeSeries]], settings: PeriodsSettings
    ) -> Record:
        """Draw a period, an amplitude and a phase."""
        return draw_period(rng, products, settings)

    def inject(
        self,
        products: Sequence[Handle[TimeSeries]],
        params: Sequence[Record],
        rng: np.random.Generator,  # noqa: ARG002 - photon noise changes little
    ) -> Sequence[Handle[TimeSeries]]:
        """Return light curves that vary with the periods drawn."""
        return inject_periods(products, params)

    def recovered(self, params: Record, event: Event) -> bool:
        """Whether the period is the injected one, half or twice of it: within 1 %, or as well as the span can tell."""
        span = (params["end_mjd"] - params["start_mjd"]) * HOURS_PER_DAY
        wanted, found = 1 / params["period"], 1 / event.parameters["period_hours"]
        return any(
            abs(found / wanted / ratio - 1) < SAME or abs(found - wanted * ratio) * span < RESOLUTION
            for ratio in (0.5, 1.0, 2.0)
        )

    def same_event(self, a: Event, b: Event) -> bool:
        """Whether two detections are of one period, within 1 %."""
        ratio = a.parameters["period_hours"] / b.parameters["period_hours"]
        return super().same_event(a, b) and abs(ratio - 1) < SAME

    def panels(
        self, products: Sequence[Handle[TimeSeries]], aux: Aux, settings: PeriodsSettings, event: Event
    ) -> list[Panel]:
        """Return the light curve, folded and not, the periodogram, and what is known of the period."""
        del aux
        units = {name: unit for unit in ("d", "h") for name in event.parameters if f"_{_LONG[unit]}" in name}
        facts = event_facts(
            event, units=units | {"amplitude": "mag"}, least=dict.fromkeys(("fap", "fap_gls"), LEAST_FAP)
        )
        return [*_sheet(products, settings), facts]

    def source_panels(
        self, products: Sequence[Handle[TimeSeries]], aux: Aux, settings: PeriodsSettings
    ) -> dict[str, list[Panel]]:
        """Return the light curve, folded and not, and its periodogram (sheet ``period``)."""
        del aux
        made = _sheet(products, settings)
        return {"period": made} if made else {}


def _sheet(products: Sequence[Handle[TimeSeries]], settings: PeriodsSettings) -> list[Panel]:
    """Return the three panels of the best period, none where there is too little to search."""
    merged = merge(products, settings)
    if merged is None:
        return []
    bands = [handle.info.band or handle.info.series for handle in products]
    try:
        if settings.method == "asteroid":
            best, sessions = _rotated(merged, settings), merged.sessions(settings.sessions)
            return list(rotation_panels(merged, best, sessions, bands))
        return list(sine_panels(merged, _powers(merged, settings)[0], bands))
    except NotEnoughData:
        return []


def _noise(rng: np.random.Generator) -> TimeSeries:
    """Return a constant star seen 150 times in a season."""
    columns = {
        "mjd": np.sort(rng.uniform(58000, 58090, 150)), "flux": rng.normal(1000, 10, 150),
        "flux_error": np.full(150, 10.0), "flags": np.zeros(150, np.int64),
    }  # fmt: skip
    return TimeSeries(columns, band="g")


# --- sines ------------------------------------------------------------------------------------------------


def _powers(merged: Merged, settings: PeriodsSettings) -> list[Periodogram]:
    return prewhiten(
        merged.days,
        merged.mag,
        merged.error,
        iterations=settings.iterations,
        minimum=None if settings.longest is None else HOURS_PER_DAY / settings.longest,
        maximum=None if settings.shortest is None else HOURS_PER_DAY / settings.shortest,
        oversampling=settings.oversampling,
        nyquist=settings.nyquist,
        refine=True,
    )


def _sines(merged: Merged, settings: PeriodsSettings) -> Result:
    found = _powers(merged, settings)
    first, chance = found[0], [one.bound(one.peak.power) for one in found]
    peaks = [
        {
            "period_hours": one.peak.period * HOURS_PER_DAY,
            "power": one.peak.power,
            "fap": fap,
            "fap_gls": one.peak.fap,
        }
        for one, fap in zip(found, chance, strict=True)
    ]
    good = [
        _sine_event(merged, one.peak, fap)
        for one, fap in zip(found, chance, strict=True)
        if fap <= settings.false_alarm
    ]
    properties = {
        "n_epochs": len(merged), "period_days": first.peak.period, "amplitude": 2 * first.peak.amplitude,
        "secure": chance[0] <= settings.false_alarm, **peaks[0], "candidates": peaks,
    }  # fmt: skip
    products: tuple[Product, ...] = ()
    if settings.save_processed:
        products = _products(merged, first.frequency, first.power, first.peak.period, first.peak.t0)
    return Result(
        detections=sorted(good, key=lambda event: event.peak_mjd), properties=properties, products=products
    )


def _sine_event(merged: Merged, peak: Peak, fap: float) -> Event:
    """Return the detection of a sine; its magnitude is least three quarters of a period after `t0`."""
    return _event(
        merged, bright=peak.t0 + 0.75 * peak.period, period=peak.period, error=peak.period_error,
        amplitude=2 * peak.amplitude, snr=peak.amplitude / peak.amplitude_error, score=peak.power,
        parameters={"fap": fap, "fap_gls": peak.fap},
    )  # fmt: skip


# --- rotation ---------------------------------------------------------------------------------------------


def _rotated(merged: Merged, settings: PeriodsSettings) -> Rotation:
    return rotation(
        merged.hours,
        merged.mag,
        merged.error,
        merged.sessions(settings.sessions),
        shortest=settings.shortest or SHORTEST,
        longest=settings.longest or LONGEST,
        harmonics=settings.harmonics,
        permutations=settings.permutations,
        seed=settings.simulate.seed,
    )


def _rotation(merged: Merged, settings: PeriodsSettings) -> Result:
    best = _rotated(merged, settings)
    candidates = [
        {
            "period_hours": one.period,
            "relation": one.relation,
            "harmonics": one.harmonics,
            "delta_bic": one.delta_bic,
        }
        for one in best.candidates[:_LISTED]
    ]
    properties = {
        "n_epochs": len(merged), "period_hours": best.period, "period_days": best.period / HOURS_PER_DAY,
        "amplitude": best.amplitude, "fap": best.fap, "grade": best.grade, "secure": best.secure,
        "coverage": best.coverage, "harmonics": best.harmonics, "reduced": list(merged.reduced),
        "candidates": candidates,
    }  # fmt: skip
    events: list[Event] = []
    products: tuple[Product, ...] = ()
    start = merged.days[0]
    bright = start + _brightest(best) * best.period / HOURS_PER_DAY
    if best.grade > 0 and best.fap <= settings.false_alarm:
        noise = best.rms * np.sqrt(2 / len(merged))
        events.append(
            _event(
                merged, bright=bright, period=best.period / HOURS_PER_DAY, error=best.period_error / HOURS_PER_DAY,
                amplitude=best.amplitude, snr=0.5 * best.amplitude / noise, score=float(best.power.max()),
                parameters={"fap": best.fap, "grade": best.grade, "harmonics": best.harmonics},
            )
        )  # fmt: skip
    if settings.save_processed:
        products = _products(
            merged, best.frequency * HOURS_PER_DAY, best.power, best.period / HOURS_PER_DAY, start
        )
    return Result(detections=events, properties=properties, products=products)


def _brightest(best: Rotation) -> float:
    """Return the phase at which the series has its least magnitude."""
    phase = np.arange(360) / 360
    return float(phase[np.argmin(best.model(phase))])


# --- both -------------------------------------------------------------------------------------------------


def _event(
    merged: Merged,
    *,
    bright: float,
    period: float,
    error: float,
    amplitude: float,
    snr: float,
    score: float,
    parameters: Record,
) -> Event:
    """Return a detection whose peak is the maximum of light next to the middle of the epochs, among them."""
    middle = 0.5 * (merged.days[0] + merged.days[-1])
    bright += np.round((middle - bright) / period) * period
    late = float(np.interp(bright, merged.days, merged.mjd - merged.days))
    known = {"period_days": period, "period_hours": period * HOURS_PER_DAY, "amplitude": amplitude}
    if np.isfinite(error):
        known |= {"period_days_error": error, "period_hours_error": error * HOURS_PER_DAY}
    first, last = float(merged.mjd[0]), float(merged.mjd[-1])
    return Event(
        kind=KIND, peak_mjd=float(np.clip(bright + late, first, last)), start_mjd=first, end_mjd=last,
        snr=float(snr), score=score, parameters=known | dict(parameters),
    )  # fmt: skip


def _products(
    merged: Merged, frequency: np.ndarray, power: np.ndarray, period: float, start: float
) -> tuple[Product, ...]:
    """Return the periodogram and the light curve with the phase of each epoch."""
    flux = 10 ** (-0.4 * merged.mag)
    columns = {
        "mjd": merged.mjd, "flux": flux, "flux_error": flux * merged.error * np.log(10) / 2.5,
        "flags": np.zeros(len(merged), np.int64), "phase": ((merged.days - start) / period) % 1.0,
    }  # fmt: skip
    folded = TimeSeries(columns, flux_unit="", meta={"period_days": period})
    powers = Table({"frequency": frequency, "power": power}, meta={"period_days": period})
    return Product(powers, role="periodogram"), Product(folded, role="folded")
