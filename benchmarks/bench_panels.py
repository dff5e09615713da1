"""Time to say what a detection looks like, and to draw it, for each analysis that comes with the package.

Usage: python benchmarks/bench_panels.py [repeats]

Each analysis is tried on the data of its contract, noise with an injected event.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable

from virtualobserver import plugins
from virtualobserver.plot import draw_panels
from virtualobserver.testing.analyses import injected, noise, searched

REPEATS = 5


def milliseconds(work: Callable[[], object], repeats: int) -> float:
    """Return the least processor time of a few runs, after one that compiles."""
    work()
    spent = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return 1000 * min(spent)


def measure(name: str, repeats: int) -> str:
    """Return the line of one analysis."""
    plugin = plugins.load("analyses", name)
    analysis = plugin(**{**plugin.contract.options, **plugin.contract.strong})
    loud, aux = injected(analysis, noise(analysis, 1)), plugin.contract.aux
    event = searched(analysis, loud).detections[0]

    def said() -> list:
        return list(analysis.panels(loud, aux, analysis.settings, event))

    panels = said()
    say = milliseconds(said, repeats)
    find = milliseconds(lambda: searched(analysis, loud), 1)
    draw = milliseconds(lambda: draw_panels(panels).savefig(io.BytesIO(), format="png", dpi=100), 1)
    return f"{name:<16} {len(panels):>7} {say:>10.1f} {find:>8.0f} {draw:>11.0f}"


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else REPEATS
    print("analysis          panels   say them     find   draw them   (ms)")
    for name in plugins.names("analyses"):
        print(measure(name, repeats), flush=True)


if __name__ == "__main__":
    main()
