"""Pictures of the bodies of a field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from virtualobserver.analyses.asteroids.bodies import Body, label_of
from virtualobserver.analyses.asteroids.rows import residual_of
from virtualobserver.analyses.asteroids.settings import AsteroidsSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["field_sheet"]


def field_sheet(bodies: Sequence[Body], settings: AsteroidsSettings, title: str) -> Figure:
    """Draw the paths of all bodies on the sky, from the first epoch (dot), and the residuals of the known ones."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 5.5), layout="constrained")
    sky, off = figure.subplots(1, 2)
    middle = bodies[0].parts[0].track.path
    for body in bodies:
        places = (
            np.concatenate([middle.plane(p.track.rows["ra"], p.track.rows["dec"]) for p in body.parts]) / 60
        )
        (line,) = sky.plot(*places.T, ".-", ms=3, lw=0.7)
        sky.plot(*places[0], "o", ms=4, color=line.get_color())
        name = body.known_as or label_of(body.number, body.kind(settings))
        sky.annotate(name, places[-1], fontsize=7, color=line.get_color())
        residuals = [residual_of(part) for part in body.parts if part.identity is not None]
        if residuals:
            off.plot(*np.concatenate(residuals).T, ".", ms=4, color=line.get_color(), label=name)
    sky.set(
        xlabel=f"east of {middle.ra:.4f} (arcmin)",
        ylabel=f"north of {middle.dec:+.4f} (arcmin)",
        aspect="equal",
    )
    sky.invert_xaxis()
    off.axhline(0, color="0.7", lw=0.6)
    off.axvline(0, color="0.7", lw=0.6)
    off.set(xlabel="east of the ephemeris (arcsec)", ylabel="north (arcsec)", aspect="equal")
    off.invert_xaxis()
    if off.get_legend_handles_labels()[0]:
        off.legend(fontsize=7)
    else:
        off.set_title("no known body")
    figure.suptitle(f"{title}: {len(bodies)} bodies")
    return figure
