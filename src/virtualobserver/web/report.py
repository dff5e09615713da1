"""What people judged as a folder of pages with pictures, which a browser reads without any server."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import jinja2
from sqlalchemy import text

from virtualobserver.errors import VirtualObserverError
from virtualobserver.io.atomic import write_bytes
from virtualobserver.run.verdicts import export_verdicts
from virtualobserver.run.views.event_figures import detection_figure
from virtualobserver.run.views.reviewers import reviewers
from virtualobserver.typing import RecordDict
from virtualobserver.web.candidate import Candidate, candidate, neighbours, words_of
from virtualobserver.web.queue import Viewer
from virtualobserver.words import in_words

if TYPE_CHECKING:
    from virtualobserver.run.project import Project

__all__ = ["write_report"]

_HERE: Final = Path(__file__).parent
_DPI: Final = 90
"""Dots per inch of a picture: a sheet of two columns fills a screen."""
_OURS: Final = re.compile(r"[0-9]+\.(html|png)")

# Those on which somebody's last word is a verdict, the strongest first.
_JUDGED: Final = """
    WITH said AS (
      SELECT DISTINCT ON (c.detection_id, c."user") c.detection_id, c.label FROM classification c
      WHERE c.detection_id IN (SELECT id FROM detections_all WHERE project = :project AND current)
      ORDER BY c.detection_id, c."user", c.created DESC, c.id DESC)
    SELECT d.id FROM detection d
    WHERE d.id IN (SELECT detection_id FROM said WHERE label <> 'withdrawn')
      AND (:simulated OR d.injection_id IS NULL)
    ORDER BY d.injection_id IS NOT NULL, abs(d.snr) DESC, d.id"""


def write_report(project: Project, folder: Path, *, simulated: bool = False) -> int:
    """Write a report of the judged detections of a project; return their number.

    ``index.html`` lists them, ``candidates/`` has a page and a picture of each, ``verdicts.csv`` all verdicts.

    Parameters
    ----------
    folder
        Made if it is not there. Pages of an earlier report in it are replaced or removed, other files stay.
    simulated
        Also injected events, apart from the others, and what part of them each person accepted.
    """
    pages = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "pages" / "report"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    pages.filters["words"] = in_words
    inside = folder / "candidates"
    inside.mkdir(parents=True, exist_ok=True)
    with project.session() as session:
        values = {"project": project.name, "simulated": simulated}
        numbers = [int(row.id) for row in session.execute(text(_JUDGED), values)]
    rows = []
    for number in numbers:
        one = candidate(project, Viewer("", blind=simulated), number)
        rows.append(_row(one, words_of(project, one.row["analysis"])))
        shown = {
            "one": one,
            "row": rows[-1],
            "near": neighbours(project, one),
            "without": _picture(project, number, inside),
        }
        page = pages.get_template("candidate.html").render(project=project.name, **shown)
        write_bytes(inside / f"{number}.html", page.encode())
    for path in inside.iterdir():
        if _OURS.fullmatch(path.name) and int(path.stem) not in set(numbers):
            path.unlink()
    export_verdicts(project, folder / "verdicts.csv")
    real = [row for row in rows if not row["injected"]]
    index = pages.get_template("index.html").render(
        project=project.name, description=project.settings.description, rows=real,
        injected=[row for row in rows if row["injected"]], tally=Counter(row["word"] for row in real),
        people=reviewers(project).to_dict("records") if simulated else [],
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )  # fmt: skip
    write_bytes(folder / "index.html", index.encode())
    write_bytes(folder / "report.css", (_HERE / "pages" / "report" / "report.css").read_bytes())
    return len(numbers)


def _row(one: Candidate, words_here: Mapping[str, str]) -> RecordDict:
    """Return what the list says of a detection: the word that all agree on, or that they differ."""
    last = {said["user"]: said for said in one.said}
    held = [said for said in last.values() if said["label"] != "withdrawn"]
    words = sorted({said["label"] for said in held})
    return {
        "number": one.number,
        "source": one.row["source"],
        "analysis": one.row["analysis"],
        "kind": one.row["kind"],
        "snr": one.row["snr"],
        "peak_mjd": one.row["peak_mjd"],
        "verdict": words[0] if len(words) == 1 else "different",
        "word": words_here.get(words[0], words[0]) if len(words) == 1 else "judged differently",
        "words": words_here,
        "said": held,
        "injected": one.row["injection_id"] is not None,
        "simulated": bool(one.row["simulated"]),
    }


def _picture(project: Project, number: int, folder: Path) -> str:
    """Write the picture of a detection; return why there is none, or nothing."""
    picture = io.BytesIO()
    try:
        detection_figure(project, number).savefig(picture, format="png", dpi=_DPI)
    except (VirtualObserverError, OSError) as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - the code of an analysis: the report has its other pages all the same
        return f"The analysis could not draw this: {type(error).__name__}: {error}"
    write_bytes(folder / f"{number}.png", picture.getvalue())
    return ""
