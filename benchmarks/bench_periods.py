"""Periodograms by the formula and with a fast transform, against astropy and the formula in NumPy; rotation periods.

Usage: python benchmarks/bench_periods.py [epochs]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
from astropy.timeseries import LombScargle

from virtualobserver.maths.periods import gls as module
from virtualobserver.maths.periods.gls import gls
from virtualobserver.maths.periods.rotation import rotation

EPOCHS = 1000
NYQUIST = 50.0  # 250,000 frequencies for 1000 epochs
SCALES = (1, 4)  # times as many epochs


def plain(t: np.ndarray, y: np.ndarray, frequency: np.ndarray) -> np.ndarray:
    """Return the power by the formula, a frequency after the other as the published program does."""
    w = np.full(t.size, 1 / t.size)
    y = y - y.mean()
    power = np.empty(frequency.size)
    for k, f in enumerate(frequency):
        x = 2 * np.pi * f * t
        c, s = np.cos(x), np.sin(x)
        mc, ms = w @ c, w @ s
        yc, ys = w @ (y * c), w @ (y * s)
        cc = w @ (c * c) - mc * mc
        ss, cs = 1 - w @ (c * c) - ms * ms, w @ (c * s) - mc * ms
        power[k] = (ss * yc**2 + cc * ys**2 - 2 * cs * yc * ys) / ((w @ y**2) * (cc * ss - cs**2))
    return power


def seconds(work: Callable[[], object], repeat: int = 3) -> float:
    """Return the least processor time of a few runs, after one that compiles."""
    work()
    spent = []
    for _ in range(repeat):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return min(spent)


def main() -> None:
    epochs = int(sys.argv[1]) if len(sys.argv) > 1 else EPOCHS
    for scale in SCALES:
        rng = np.random.default_rng(1)
        n = epochs * scale
        t = np.sort(rng.uniform(0, 1000.0, n))
        y = np.sin(2 * np.pi * 0.3131 * t) + rng.normal(size=n)
        frequency = gls(t, y, nyquist=NYQUIST / scale).frequency
        ours = seconds(lambda t=t, y=y, s=scale: gls(t, y, nyquist=NYQUIST / s))
        module._LARGE = 0  # noqa: SLF001 - always screened
        fast = seconds(lambda t=t, y=y, s=scale: gls(t, y, nyquist=NYQUIST / s))
        module._LARGE = 200_000_000  # noqa: SLF001
        theirs = seconds(
            lambda t=t, y=y, f=frequency: LombScargle(t, y).power(f, assume_regular_frequency=True)
        )
        some = frequency[:: max(1, frequency.size // 2500)]
        loop = seconds(lambda t=t, y=y, f=some: plain(t, y, f), 1) * frequency.size / some.size
        print(
            f"{n} epochs, {frequency.size} frequencies: gls {ours:.3f} s (screened {fast:.3f} s), "
            f"astropy {theirs / ours:.1f} x, formula in NumPy {loop / ours:.0f} x as long"
        )
    hours = np.concatenate([24 * night + np.sort(rng.uniform(0, 6, 100)) for night in range(5)])
    mag = 0.2 * np.cos(4 * np.pi * hours / 7.3) + rng.normal(0, 0.02, hours.size)
    session = np.repeat(np.arange(5), 100)
    spent = seconds(lambda: rotation(hours, mag, None, session))
    print(f"rotation, 500 epochs of 5 nights, 99 permutations: {spent:.2f} s")


if __name__ == "__main__":
    main()
