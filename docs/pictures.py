"""Draw the pictures of the manual's first page: five searches, on simulated data, in a folder that is thrown away.

Run by ``docs/generate.py``. A picture shows what ``vo plot NAME --detection ID`` shows, the first panels of it. The
searches are the demonstrations that come along, made smaller, so that all five together take half a minute of one
processor.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl

from virtualobserver import Project
from virtualobserver.data.panels import Panel
from virtualobserver.plot.panels import draw_panels
from virtualobserver.run.workspace import Workspace

SIZE = (10.5, 3.3)  # inches; two panels side by side, as wide as the text of the page
DPI = 110


@dataclass(frozen=True)
class Search:
    """One picture: which demonstration, how much of it, and what of it is shown.

    Parameters
    ----------
    config, overrides, only
        A shipped configuration, what is changed in it, and its sources that are searched (all, if empty).
    steps
        What is run, in this order.
    kind
        The strongest detection of this kind is shown.
    panels
        How the titles of the panels that are shown begin or end: what else an analysis shows changes no picture here.
    """

    config: str
    overrides: Sequence[str]
    steps: Sequence[str]
    kind: str
    panels: Sequence[str]
    only: Sequence[str] = ()


IMAGES = ("fetch", "calibrate", "reduce")
SEARCHES = (
    Search(
        "demo",
        ("catalog.limit=3", "observatories.demo.flare_fraction=1.0"),
        ("fetch", "reduce", "analyse"),
        "flare",
        ("flare at",),
    ),
    Search(
        "harps_demo",
        (),
        ("fetch", "reduce", "analyse"),
        "exocomet_candidate",
        ("Ca II K", "residuals of Ca II K"),
        only=("Comet 1",),
    ),
    Search(
        "astep_demo",
        ("observatories.astep.simulation.frames=12", "observatories.astep.simulation.movers=2"),
        (*IMAGES, "analyse"),
        "mover",
        ("sum along the path", "S/N of each image"),
    ),
    Search(
        "lsss_demo",
        ("observatories.lsss.simulation.frames=8",),
        (*IMAGES, "analyse:image_quality", "analyse:moving_objects", "analyse:asteroids"),
        "asteroid",
        ("bodies", "measured less ephemeris"),
    ),
    Search(
        "decam_demo",
        ("observatories.decam.simulation.exposures=2",),
        (*IMAGES, "analyse:driftscan"),
        "pulse",
        ("pulse, ", "common mode"),
    ),
)


def shown(panels: Sequence[Panel], words: Sequence[str]) -> list[Panel]:
    """Return for each word the first panel whose title begins with it, else that ends with it.

    Raises
    ------
    LookupError
        There is none.
    """
    found: list[Panel] = []
    for word in words:
        titles = [panel.title for panel in panels]
        places = [n for n, title in enumerate(titles) if title.startswith(word)]
        places += [n for n, title in enumerate(titles) if title.endswith(word)]
        if not places:
            msg = f"no panel is called {word!r}: there are {', '.join(titles)}"
            raise LookupError(msg)
        found.append(panels[places[0]])
    return found


def draw(search: Search, data: str, path: Path) -> None:
    """Run a search and write the picture of its strongest detection.

    Raises
    ------
    LookupError
        It found nothing of that kind, or the analysis has no such panel.
    """
    with Project.open(search.config, data=data, overrides=search.overrides) as project:
        for step in search.steps:
            if any(step in (known.name, known.kind) for known in project.steps):
                project.run(step=step, only=search.only)
        found = project.detections(simulated=True)
        found = found[(found["kind"] == search.kind) & found["injection_id"].isna()]
        if found.empty:
            msg = f"{search.config} has found no {search.kind}: the manual has nothing to show"
            raise LookupError(msg)
        best = int(found.loc[found["snr"].abs().idxmax(), "id"])
        figure = draw_panels(shown(project.panels(best), search.panels), figsize=SIZE)
        figure.savefig(path, dpi=DPI)


def main(folder: Path) -> None:
    """Write all pictures into `folder`."""
    mpl.use("Agg")
    os.environ.pop("VO_DATABASE_URL", None)  # these searches are nobody's: they have a server of their own
    with tempfile.TemporaryDirectory(prefix="vo-manual-") as data:
        Path(data).chmod(0o755)  # started by root, the server runs under another account
        with Workspace(data):  # keeps the server up from one search to the next
            for search in SEARCHES:
                draw(search, data, folder / f"{search.config}.png")


if __name__ == "__main__":
    target = Path(__file__).parent / "generated"
    target.mkdir(exist_ok=True)
    main(target)
