"""Linking: seconds for one field of 12 images, and how they grow with the number of sources.

Usage: python benchmarks/bench_linking.py [most times the sources]
"""

from __future__ import annotations

import sys
import time

import numpy as np

from virtualobserver.maths.linking.chain import run_chain
from virtualobserver.maths.linking.chain_settings import SsosSettings
from virtualobserver.maths.linking.link import link
from virtualobserver.maths.linking.lists import SourceLists
from virtualobserver.maths.linking.settings import LinkSettings

IMAGES, STARS, SPURIOUS, MOVERS = 12, 280, 20, 40
SIDES = (2430.0, 1640.0)  # arcsec: 40 x 27 arcmin
ROUNDS = 3


def lists(times: int) -> SourceLists:
    """Return a field with so many times the stars and spurious sources; the movers stay 40."""
    rng = np.random.default_rng(1)
    hours = np.arange(IMAGES) / 15
    stars = rng.uniform(0, SIDES, (STARS * times, 2))
    start, angle = rng.uniform(0, SIDES, (MOVERS, 2)), rng.uniform(0, 2 * np.pi, MOVERS)
    way = np.exp(rng.uniform(0, np.log(320), MOVERS))[:, None] * np.stack(
        [np.sin(angle), np.cos(angle)], axis=1
    )
    rows = [
        np.concatenate([stars, rng.uniform(0, SIDES, (SPURIOUS * times, 2)), start + way * t]) for t in hours
    ]
    place = np.concatenate(rows)
    place += rng.normal(0, 0.1, place.shape)
    errors = np.full(len(place), 0.1)
    image = np.repeat(np.arange(IMAGES), len(rows[0]))
    x, y = place.T / 2.2
    sky = 150 + place[:, 0] / 3600, place[:, 1] / 3600
    return SourceLists.of(
        60000 + hours / 24, image, sky, (errors, errors), x=x, y=y, exptime=np.full(IMAGES, 60.0)
    )


def main() -> None:
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    link(lists(1), LinkSettings())  # compiled once, and kept
    for times in (one for one in (1, 3, 10, 30, 100) if one <= most):
        field = lists(times)
        for name, work in (
            ("link", lambda field=field: len(link(field, LinkSettings()).tracks)),
            ("ssos", lambda field=field: len(run_chain(field, SsosSettings()).tracks)),
        ):
            best, found = float("inf"), 0
            for _ in range(ROUNDS if times < 30 else 1):
                begin = time.process_time()
                found = work()
                best = min(best, time.process_time() - begin)
            print(f"{name:5} {len(field):8,} sources  {best:8.3f} s   {found} tracks")


if __name__ == "__main__":
    main()
