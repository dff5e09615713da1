"""The search over all durations: windows that stand out of a star's quiet level, and whether they are its own habit.

A star whose best window is what quiet stars have, and without an epoch that stands out, costs one compiled pass. Others
are judged: windows are taken out one by one, the noise and the slow variability outside of them are measured, and each
is weighed before those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.transients.block import Block
from virtualobserver.analyses.transients.cycle import cycle
from virtualobserver.analyses.transients.settings import TransientsSettings
from virtualobserver.analyses.transients.stars import Stars, gathered
from virtualobserver.analyses.transients.verdict import Evidence, Span, Verdict
from virtualobserver.maths.lightcurves.events import event_templates, find_events
from virtualobserver.maths.lightcurves.lone import UNLIKE, fit_lone
from virtualobserver.maths.lightcurves.slow import SlowModel, Weighed, fit_slow, weigh
from virtualobserver.maths.lightcurves.windows import CAP, Curves, Screened, chance, event_sigma, screen

__all__ = ["search_stars"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

MOST_WINDOWS: Final = 12
"""Windows taken out of one star; a star with more of them is told by those."""
BEFORE, AFTER = 0.4, 0.8
"""Lengths of a window before and after it that are not taken for quiet: smooth events begin and end outside of it."""
LEAST_QUIET: Final = 0.4
"""Part of the rows outside of all events from which a star counts as quiet between them; walks leave less, events up to
half of the time more."""
REST_SIGMA: Final = 3.0
"""Significance that an event keeps without its strongest epoch, where that is like the others: noise pairs two such
epochs as often as `false_alarm` says."""
WILD: Final = 3.0
"""Times the middle one of the others from which the strongest epoch is not like them, as no smooth form makes it."""
WILD_REST: Final = 4.3
"""Significance that an event keeps without such an epoch. A wild epoch has some hundred windows around it, of which one
reaches so much by chance in one of a thousand cases."""
SUPPORTS: Final = 2.0
"""Sigma from which an epoch confirms an event: one in 44 of quiet ones does."""
SLOW_GAIN: Final = 8.0
"""Gain in ln L from which a star varies slowly; fewer than 1 of 1000 quiet stars have it."""
LEAST_EPOCHS: Final = 20
"""Quiet epochs from which noise is known well enough to confirm an event or to class a star: to a fifth or better."""
FAST: Final = 3.0
"""Scatter over stated errors from which a star varies from epoch to epoch; archives state errors better than that."""
ONSETS: Final = (0.0, 0.15, 0.3, 0.5)
"""Where in a window, in parts of its epochs, fast rises are tried: decays fill the rest of it."""
CORE: Final = 0.1
"""Of the height of an event with long wings, down to which its epochs are its window; chosen."""
RECURRENT: Final = 3
"""Events of one kind that make a habit; two may be chance or parts of one."""
HABIT: Final = 5.0
"""Amplitude, in deviations outside of the event, up to which it is the star's habit, as one epoch of noise would be."""


def search_stars(block: Block, parts: Sequence[range], settings: TransientsSettings) -> list[Verdict]:
    """Search each star; `parts` are the numbers of its light curves in the block."""
    stars = gathered(block, parts, settings.min_points)
    curves = stars.curves.where(stars.usable)
    found = screen(curves)
    counts, everything = np.diff(curves.edges), np.diff(stars.curves.edges)
    best = found.best.max(axis=1)
    wild = _any(np.abs(found.residual) > settings.snr_threshold * np.sqrt(found.variance), curves.edges)
    wild |= _any(~stars.usable & (np.abs(block.snr[stars.row]) > settings.snr_threshold), stars.curves.edges)
    excess = np.sqrt(_median_ratio(found.variance, curves))
    verdicts = []
    for number in range(len(parts)):
        if not len(parts[number]):
            verdicts.append(Verdict())
            continue
        bands = int(curves.n_bands[number])
        p_value = chance(float(best[number]), bands, int(counts[number]))
        verdict = Verdict(kind="quiet", varies="", p_value=p_value)
        if everything[number] >= settings.min_points:
            varies = "fast" if excess[number] > FAST and counts[number] >= LEAST_EPOCHS else ""
            verdict = replace(verdict, varies=varies, kind="variable" if varies else "quiet")
            if p_value <= settings.false_alarm or wild[number]:
                verdict = _looked_at(block, stars, number, settings, verdict)
        if verdict.kind == "variable":
            rows = curves.rows(number)
            verdict = _timed(verdict, curves.t[rows], found.residual[rows], found.variance[rows])
        verdicts.append(verdict)
    return verdicts


def _timed(verdict: Verdict, t: FloatArray, residual: FloatArray, variance: FloatArray) -> Verdict:
    """Look for the period of a variable; where a sine is most of what it does, that is how it varies."""
    found = cycle(t, residual, variance)
    if found is None:
        return verdict
    varies = "periodic" if found.steady and verdict.varies in ("fast", "slow") else verdict.varies
    return replace(verdict, varies=varies, cycle=found)


def _looked_at(
    block: Block, stars: Stars, number: int, settings: TransientsSettings, before: Verdict
) -> Verdict:
    """Judge a star; one that seems to vary may have a single event with long wings, and be quiet without it."""
    star = _Star(block, stars, number, settings)
    said = star.verdict(before)
    if said.kind != "variable":
        return said
    lone = star.lone_event()
    if lone is None:
        return said
    # how much it scatters beyond its errors was measured with the event in it
    alone = _Star(block, stars, number, settings, lone).verdict(replace(before, varies="", kind="quiet"))
    others = sum(_evidence(span).confirmed for span in alone.spans) - 1
    return alone if alone.kind == "transient" and not others else said


def _any(rows: BoolArray, edges: IntArray) -> BoolArray:
    return np.diff(np.concatenate(([0], np.cumsum(rows)))[edges]) > 0


def _median_ratio(variance: FloatArray, curves: Curves) -> FloatArray:
    """Return the mean of noise over stated errors of each star, which is one number in each of its bands."""
    ratio = np.concatenate(([0.0], np.cumsum(variance / curves.variance)))[curves.edges]
    counts = np.diff(curves.edges)
    return np.where(counts > 0, np.diff(ratio) / np.maximum(counts, 1), 1.0)


@dataclass(slots=True, eq=False)
class _Window:
    """A candidate: its sign, which rows of the star it holds, and which are not quiet because of it."""

    sign: int
    inside: BoolArray
    around: BoolArray


class _Star:
    """One star that is looked at closely. Rows count within the star."""

    def __init__(
        self,
        block: Block,
        stars: Stars,
        number: int,
        settings: TransientsSettings,
        lone: tuple[_Window, Curves] | None = None,
    ) -> None:
        self.block, self.settings = block, settings
        self.curves = stars.curves.star(number) if lone is None else lone[1]
        part = stars.curves.rows(number)
        self.row, self.usable, self.unit = stars.row[part], stars.usable[part], stars.unit[part]
        self.bands, self.size = int(self.curves.n_bands[0]), self.row.size
        self.windows, self.quiet = self._taken_out([] if lone is None else [lone[0]])
        found = screen(self.curves.where(self.quiet))
        self.shared = float(found.shared[0])
        self.residual, self.variance = self._judged(found, self.quiet)
        self.z = self.residual / np.sqrt(self.variance)
        self.steady = self.quiet & (np.abs(np.nan_to_num(self.z)) < settings.snr_threshold)
        self._enough = bool(self.curves.known[0]) or int(self.usable.sum()) >= LEAST_EPOCHS

    def verdict(self, before: Verdict) -> Verdict:
        """Weigh all windows and single epochs."""
        whole = self._slow(self.steady)
        spans = [span for window in self.windows if (span := self._span(window, whole)) is not None]
        singles = self._singles(spans)
        spans += singles
        if not self.settings.dips:
            spans = [span for span in spans if span.sign > 0]
        spans = self._kept(spans)
        varies, habit = self._habit(spans, whole, before.varies or "")
        spans = [
            replace(span, evidence=replace(_evidence(span), group=1 if habit else n + 1))
            for n, span in enumerate(spans)
        ]
        confirmed = any(_evidence(span).confirmed for span in spans)
        if varies:
            return Verdict(tuple(spans), "variable", varies, before.p_value)
        return Verdict(tuple(spans), "transient" if confirmed else "quiet", "", before.p_value)

    def lone_event(self) -> tuple[_Window, Curves] | None:
        """Return the window of one event that the star may be quiet without, and the star without its wings."""
        if not self.windows or self.curves.known[0]:
            return None
        one, curves = self.windows[0], self.curves
        inside = np.flatnonzero(one.inside)
        peak = inside[np.argmax(np.nan_to_num(self.z[inside]) * one.sign)]
        chosen = np.flatnonzero(self.usable)
        found = fit_lone(
            curves.t[chosen],
            curves.flux[chosen],
            curves.variance[chosen],
            curves.series[chosen],
            curves.band[chosen],
            sign=one.sign,
            peak=float(curves.t[peak]),
            length=max(float(np.ptp(curves.t[inside])), 0.5),  # days, as the sides of a window
        )
        if found is None:
            return None
        light, form = np.zeros(self.size), np.zeros(self.size)
        light[chosen], form[chosen] = found.light, found.form
        held = form >= CORE
        flux = curves.flux - np.where(held, 0.0, light)
        variance = curves.variance + (UNLIKE * light) ** 2
        return _Window(one.sign, held, held), replace(curves, flux=flux, variance=variance)

    def _taken_out(self, windows: list[_Window]) -> tuple[list[_Window], BoolArray]:
        """Take windows out one by one, the strongest first; return them and the rows outside of all."""
        t, quiet = self.curves.t, self.usable.copy()
        for known in windows:
            quiet &= ~known.around
        for _ in range(MOST_WINDOWS):
            found = screen(self.curves.where(quiet))
            kind = int(np.argmax(found.best[0]))
            count = int(quiet.sum())
            if chance(float(found.best[0, kind]), self.bands, count) > self.settings.false_alarm:
                break
            first, stop = found.window[0, kind]
            rows = np.flatnonzero(quiet)[first:stop]
            start, end = t[rows[0]], t[rows[-1]]
            # days: the sides of a short event are those of one of half a day; chosen
            length = max(end - start, 0.5)
            inside = np.zeros(self.size, dtype=bool)
            inside[rows] = True
            around = (t >= start - BEFORE * length) & (t <= end + AFTER * length)
            if not windows and (quiet & ~around).sum() < LEAST_QUIET * self.size:
                around = (t >= start) & (t <= end)  # of an event of half the time all else is needed
            windows.append(_Window(1 if kind == 0 else -1, inside, around))
            quiet &= ~around
            # chosen: of fewer than a fifth of the rows no level is known
            if quiet.sum() < max(self.settings.min_points, 0.2 * self.size):
                break
        return _merged(windows), quiet

    def _judged(self, found: Screened, rows: BoolArray) -> tuple[FloatArray, FloatArray]:
        """Carry level and noise of the quiet rows to all; NaN where a series or a band has none of them."""
        if self.curves.known[0]:
            return self.curves.flux.copy(), self.curves.variance.copy()
        chosen = np.flatnonzero(rows)
        level = np.full(int(self.curves.n_series[0]), np.nan)
        level[self.curves.series[chosen]] = self.curves.flux[chosen] - found.residual
        factor, extra = np.full(self.bands, np.nan), np.full(self.bands, np.nan)
        ratio = found.variance / self.curves.variance[chosen]
        factor[self.curves.band[chosen]] = np.minimum(ratio, 1.0)
        extra[self.curves.band[chosen]] = np.maximum(found.variance - self.curves.variance[chosen], 0.0)
        variance = factor[self.curves.band] * self.curves.variance + extra[self.curves.band]
        return self.curves.flux - level[self.curves.series], variance

    def _base(self, rows: BoolArray) -> FloatArray:
        """Columns of the quiet level of each series."""
        if self.curves.known[0]:
            return np.zeros((int(rows.sum()), 0))
        series = self.curves.series[rows]
        return np.asarray(series[:, None] == np.unique(series), dtype=np.float64)

    def _white(self, rows: BoolArray) -> FloatArray:
        return np.asarray(np.maximum(self.variance[rows] - self.shared, 0.25 * self.variance[rows]))

    def _slow(self, rows: BoolArray) -> SlowModel:
        """Fit slow variability to rows that are quiet."""
        if rows.sum() < self.settings.min_points + int(self.curves.n_series[0]) or self.curves.known[0]:
            return SlowModel(0.0, 1.0, 1.0, self.shared, 0.0)
        return fit_slow(
            self.curves.t[rows], self.residual[rows], self._base(rows), self._white(rows), night=self.shared
        )

    def _span(self, window: _Window, whole: SlowModel) -> Span | None:
        """Weigh a window before the noise outside of it; None if that explains it, or one epoch does."""
        known = np.isfinite(self.z)
        inside = window.inside & known
        if not self._carried(inside, window.sign):
            return None
        outside = self.steady
        model = whole
        if len(self.windows) > 1 and self.steady.mean() < LEAST_QUIET:
            # Little is left: the other windows are what the star does.
            outside = self.usable & known & ~window.around
            model = self._slow(outside)
        rows = inside | (outside & known)
        best, shape, width = self._weighed(window, rows, model)
        p_value = chance(best.statistic, self.bands, int(self.usable.sum()))
        if p_value > self.settings.false_alarm:
            return None
        side = max(self.settings.snr_threshold - 2.0, SUPPORTS)
        grown = _grown(np.flatnonzero(inside), np.nan_to_num(self.z) * window.sign, side)
        sigma = window.sign * event_sigma(best.statistic, self.bands)
        return self._made(grown, sigma, p_value=p_value, shape=shape, width=width)

    def _weighed(self, window: _Window, rows: BoolArray, model: SlowModel) -> tuple[Weighed, str, float]:
        """Try a box and fast rises with exponential decays; return the best with its form and width."""
        t = self.curves.t
        mine = np.flatnonzero(window.inside)
        # days, half an hour: one point alone has no length; chosen
        length = max(float(t[mine[-1]] - t[mine[0]]), 0.02)
        forms: list[tuple[str, float, FloatArray]] = [("box", length, window.inside[rows].astype(np.float64))]
        forms += [
            ("fred", decay, event_templates(t[rows], start, decay, shape="fred"))
            for start in np.unique(np.quantile(t[mine], ONSETS))
            # chosen: a box found for a decay reaches over 1.4 to 3.3 of its scales
            for decay in (0.3 * length, 0.7 * length)
        ]
        band = self.curves.band[rows][:, None] == np.arange(self.bands)
        found = []
        for shape, width, form in forms:
            one = weigh(
                model,
                t[rows],
                self.residual[rows],
                self._base(rows),
                self._white(rows),
                templates=form[:, None] * band,
                sign=window.sign,
            )
            found.append((one, shape, width))
        return max(found, key=lambda each: each[0].statistic)

    def _carried(self, inside: BoolArray, sign: int) -> bool:
        """Whether a window is more than its strongest epoch.

        No epoch counts for more than three times the middle one: wild epochs with quiet ones between are no event.
        """
        z = self.z[inside] * sign
        if z.size < 2:
            return False
        kept = np.arange(z.size) != np.argmax(z)
        limit = max(WILD * float(np.median(z[kept])), SUPPORTS)
        noise = np.sqrt(self.variance[inside][kept])
        weight = 1.0 / self._white(inside)[kept]
        mean = (np.minimum(z[kept], limit) * noise * weight).sum() / weight.sum()
        nights = np.unique(self.curves.night[inside][kept]).size
        rest = float(mean / np.sqrt(1.0 / weight.sum() + self.shared / nights))
        return rest > (WILD_REST if z.max() > max(limit, CAP) else REST_SIGMA)

    def _made(self, rows: IntArray, sigma: float, *, p_value: float, shape: str, width: float) -> Span:
        sign = 1 if sigma > 0 else -1
        z = np.nan_to_num(self.z[rows]) * sign
        speaks = rows[(z > SUPPORTS) & self.usable[rows]]
        curve = np.unique(np.searchsorted(self.block.edges, self.row[speaks], side="right") - 1)
        bands = tuple(sorted({self.block.curves[n].band for n in curve.tolist()}))
        epochs, peak = int(speaks.size), int(rows[np.argmax(z)])
        unit = float(self.unit[peak])
        return Span(
            sign=sign,
            rows=self.row[rows],
            peak=int(self.row[peak]),
            sigma=sigma,
            mean=float(self.curves.flux[peak] - self.residual[peak]) * unit,
            rms=float(np.sqrt(self.variance[peak])) * unit,
            evidence=Evidence(
                p_value=p_value,
                confirmed=epochs >= self.settings.min_epochs
                and len(bands) >= self.settings.min_bands
                and self._enough,
                epochs=epochs,
                nights=int(np.unique(self.curves.night[speaks]).size),
                bands=bands,
                series=int(np.unique(self.curves.series[speaks]).size),
                shape=shape,
                width=width,
            ),
        )

    def _singles(self, spans: Sequence[Span]) -> list[Span]:
        """Return runs of epochs above the threshold that are in no event."""
        taken = (
            np.isin(self.row, np.concatenate([span.rows for span in spans]))
            if spans
            else np.zeros(self.size, bool)
        )
        # what the star's own noise says, where all of the level is known
        left = ~taken & np.isfinite(self.z)
        found = find_events(
            self.curves.t,
            np.nan_to_num(self.z),
            left,
            threshold=self.settings.snr_threshold,
            sidebands=self.settings.sidebands,
            max_gap=np.inf if self.settings.max_gap is None else self.settings.max_gap,
        )
        made = []
        for one in found:
            rows = np.array(one.rows)
            p_value = chance(one.snr**2, 1, self.size)
            span = self._made(rows, one.snr, p_value=p_value, shape="", width=0.0)
            inside = np.zeros(self.size, dtype=bool)
            inside[rows] = self.usable[rows]
            alone = not self._carried(inside, one.sign)
            evidence = _evidence(span)
            made.append(replace(span, evidence=replace(evidence, confirmed=evidence.confirmed and not alone)))
        return made

    def _habit(self, spans: Sequence[Span], whole: SlowModel, varies: str) -> tuple[str, bool]:
        """Return how the star varies outside of its events, and whether these are one habit."""
        for sign, name in ((1, "outbursts"), (-1, "eclipses")):
            alike = [span for span in spans if span.sign == sign]
            sure = sum(_evidence(span).confirmed for span in alike)
            if len(alike) >= RECURRENT and sure >= RECURRENT - 1:
                return name, True
        if self.steady.mean() < LEAST_QUIET:
            return varies or "slow", True
        if whole.gain > SLOW_GAIN:
            varies = varies or "slow"
        deviation = np.sqrt(whole.power + float(np.median(self.variance[self.steady])))
        strongest = max((self._height(span) for span in spans if _evidence(span).confirmed), default=0.0)
        if varies and strongest > HABIT * deviation:
            return "", False
        return varies, bool(varies)

    def _kept(self, spans: list[Span]) -> list[Span]:
        """Return the strongest events of each light curve in order of time, without doubtful ones if that is asked."""
        if self.settings.drop_flagged_quality:
            spans = [
                span for span in spans if self.block.clean[span.rows].all() and _evidence(span).confirmed
            ]
        number = {
            span.peak: int(np.searchsorted(self.block.edges, span.peak, side="right")) for span in spans
        }
        left = dict.fromkeys(number.values(), self.settings.max_events_per_lightcurve)
        kept = []
        for span in sorted(spans, key=lambda span: -abs(span.sigma)):
            if left[number[span.peak]] > 0:
                left[number[span.peak]] -= 1
                kept.append(span)
        return sorted(kept, key=lambda span: float(self.block.mjd[span.peak]))

    def _height(self, span: Span) -> float:
        rows = np.isin(self.row, span.rows)
        return float(np.nanmax(self.residual[rows] * span.sign, initial=0.0))


def _evidence(span: Span) -> Evidence:
    """Return what this method always tells."""
    assert span.evidence is not None
    return span.evidence


def _grown(rows: IntArray, z: FloatArray, side: float) -> IntArray:
    """Add neighbours of a window that stand out as well."""
    first, last = int(rows[0]), int(rows[-1])
    while first > 0 and z[first - 1] > side:
        first -= 1
    while last < z.size - 1 and z[last + 1] > side:
        last += 1
    inner = rows[(rows >= first) & (rows <= last)]
    return np.unique(np.concatenate((np.arange(first, rows[0]), inner, np.arange(rows[-1] + 1, last + 1))))


def _merged(windows: list[_Window]) -> list[_Window]:
    """Join windows of one sign that touch: what is left of a strong event beside its window is no other event."""
    joined: list[_Window] = []
    for window in windows:
        for other in joined:
            if other.sign == window.sign and bool((other.around & window.around).any()):
                other.inside |= window.inside
                other.around |= window.around
                break
        else:
            joined.append(window)
    return joined
