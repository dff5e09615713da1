"""A million orbits for one night: which come into a field, and the motion of some among the planets.

Usage: python benchmarks/bench_ephemeris.py [orbits]
"""

from __future__ import annotations

import resource
import sys
import time

import numpy as np

from virtualobserver.maths.ephemeris.orbits import Orbits, states_of, two_body
from virtualobserver.maths.ephemeris.perturbed import perturbed
from virtualobserver.maths.ephemeris.seen import Observer, in_field
from virtualobserver.maths.times import Site

ORBITS = 1_000_000
SITE = Site(-2.57, 37.98, 1530.0)
EPOCH, NIGHT = 59900.0, 60000.0
SOME = 1000


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else ORBITS
    rng = np.random.default_rng(1)
    angles = rng.uniform(0, 360, (3, n))
    orbits = Orbits.from_mean_anomaly(
        rng.uniform(2.1, 3.3, n), rng.uniform(0, 0.25, n), rng.rayleigh(8, n), angles[0], angles[1],
        mean_anomaly=angles[2], epoch=np.full(n, EPOCH),
    )  # fmt: skip
    two_body(states_of(orbits), NIGHT)  # compiles
    start = time.process_time()
    states = states_of(orbits)
    middle = time.process_time()
    numbers, _ = in_field(states, Observer.at(NIGHT + np.linspace(0, 0.3, 12), SITE), 180.0, 0.0, 0.5)
    end = time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"{n} orbits: elements to states {middle - start:.1f} s, cone of 0.5 deg over a night {end - middle:.1f} s,"
    )
    print(f"{numbers.size} inside; {peak:.2f} Gbyte")
    some = states_of(Orbits(*(getattr(orbits, name)[:SOME] for name in Orbits.__dataclass_fields__)))
    start = time.process_time()
    perturbed(some, [NIGHT])
    print(f"{SOME} bodies, {NIGHT - EPOCH:.0f} days among the planets: {time.process_time() - start:.1f} s")


if __name__ == "__main__":
    main()
