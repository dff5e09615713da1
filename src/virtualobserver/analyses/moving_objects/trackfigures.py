"""A picture of the movers that linking found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from virtualobserver.analyses.moving_objects.engines import Linked

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["track_map"]


def track_map(linked: Linked) -> Figure:
    """Draw all sources of a field, and the paths of its movers from the first image (dot) to the last."""
    from matplotlib.figure import Figure

    lists = linked.field.lists
    figure = Figure(figsize=(8, 6.5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(*(lists.place.T / 60), ",", color="0.6")
    hours = np.linspace(0, float(lists.hours[-1]), 30)
    for number, track in enumerate(linked.tracks, 1):
        path = track.at(hours) / 60
        (line,) = axes.plot(*path.T, lw=1)
        axes.plot(*path[0], "o", ms=3, color=line.get_color())
        axes.plot(*(lists.place[track.rows].T / 60), ".", ms=3, color=line.get_color())
        axes.annotate(f"{number}: {track.rate:.1f}", path[-1], fontsize=7, color=line.get_color())
    ra, dec = lists.centre
    axes.set(xlabel=f"east of {ra:.4f} (arcmin)", ylabel=f"north of {dec:+.4f} (arcmin)", aspect="equal")
    axes.set_title(f"{len(linked.tracks)} movers, rates in arcsec/h")
    axes.invert_xaxis()
    return figure
