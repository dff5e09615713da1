"""The pages and what they ask the server for."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import jinja2
from sqlalchemy.exc import DBAPIError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

from virtualobserver.columns import band_words, find
from virtualobserver.config.log import get_logger
from virtualobserver.conventions import VERDICTS, WITHDRAWN
from virtualobserver.data.panels import Facts, Panel
from virtualobserver.errors import DataError, VirtualObserverError
from virtualobserver.observatory import title_of
from virtualobserver.plot.panels import said
from virtualobserver.run.verdicts import give_verdict_once
from virtualobserver.run.views.reviewers import disagreements, reviewers
from virtualobserver.typing import RecordDict
from virtualobserver.web import queue
from virtualobserver.web.bokeh import scripts_folder
from virtualobserver.web.candidate import (
    WORDS,
    Absent,
    Candidate,
    candidate,
    judged_with,
    may_be_told,
    metadata,
    name_of,
    neighbours,
    siblings,
    source_named,
    words_of,
)
from virtualobserver.web.frames import frame_of, frames_of, pages_of_candidate, pages_of_source
from virtualobserver.web.pictures import Pictures
from virtualobserver.web.security import CSRF_HEADER, Doorkeeper, Keys
from virtualobserver.web.tally import Tallies, tally
from virtualobserver.web.views import View
from virtualobserver.words import in_words

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from virtualobserver.run.project import Project
    from virtualobserver.web.queue import Viewer

__all__ = ["KEYS", "make_app"]

_log = get_logger(__name__)
_HERE: Final = Path(__file__).parent
KEYS: Final[Mapping[str, str]] = {"candidate": "y", "other": "n", "artefact": "j", "unsure": "w"}
"""The key of each verdict."""
_SAID: Final = ("kind", "S/N", "peak", "duration", "score", "filter", "position", "quality")
ROOM: Final = 22
"""Rows of facts that fit below what all candidates have, at 1440 by 900; more stand in two columns."""
Cell = str | float | bool | None
Row = tuple[str, Cell, str]
LONGEST_NOTE: Final = 4000
"""Letters of a note, two pages of text: longer ones are pasted by mistake."""
_AWAY: Final = "The database does not answer; nothing was changed."
_YEAR: Final = "private, max-age=31536000, immutable"


def make_app(project: Project, viewer: Viewer, keys: Keys) -> ASGIApp:
    """Return the application that shows the candidates of a project to one person.

    Parameters
    ----------
    project
        Opened; the caller closes it.
    viewer
        Who judges.
    keys
        The secrets of this server.
    """
    desk = _Desk(project, viewer, keys)
    routes = [
        Route("/", _page(desk.listing)),
        Route("/candidate/{number:int}", _page(desk.candidate)),
        Route("/source", _page(desk.source)),
        Route("/frame", _page(desk.frame)),
        Route("/people", _page(desk.people)),
        Route("/data/candidate/{number:int}", _page(desk.candidate_data)),
        Route("/data/figures/{number:int}", _page(desk.figures)),
        Route("/data/figure/{number:int}/{n:int}", _page(desk.figure)),
        Route("/data/ahead", _page(desk.ahead)),
        Route("/data/counts", _page(desk.counts)),
        Route("/data/end", _page(desk.end)),
        Route("/data/siblings/{number:int}", _page(desk.siblings)),
        Route("/data/metadata/{number:int}", _page(desk.metadata)),
        Route("/verdict", desk.verdict, methods=["POST"]),
        *(Route(address, _file(path)) for address, path in _files().items()),
    ]
    return Doorkeeper(Starlette(routes=routes, exception_handlers={Exception: _broken}), keys)


def _files() -> dict[str, Path]:
    """Return the files that are served, each by its address; no address is ever taken for a path."""
    ours = {
        f"/static/{path.name}": path
        for path in (_HERE / "static").iterdir()
        if path.suffix in {".js", ".css", ".svg"}
    }
    asked_unasked = {"/favicon.ico": _HERE / "static" / "icon.svg"}  # by browsers
    return ours | asked_unasked | {"/bokeh/bokeh.min.js": scripts_folder() / "bokeh.min.js"}


def _file(path: Path) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_: Request) -> Response:
        return FileResponse(
            path, headers={"Cache-Control": _YEAR if path.name.startswith("bokeh") else "no-cache"}
        )

    return answer


def _page(make: Callable[[Request], Response]) -> Callable[[Request], Awaitable[Response]]:
    """Return what answers with a page that is made in a thread; an error of ours is said in one sentence."""

    async def answer(request: Request) -> Response:
        try:
            return await run_in_threadpool(make, request)
        except DataError as error:
            return PlainTextResponse(str(error), status_code=404 if isinstance(error, Absent) else 400)
        except VirtualObserverError as error:
            return PlainTextResponse(str(error), status_code=503)
        except DBAPIError:
            return PlainTextResponse(_AWAY, status_code=503)

    return answer


async def _broken(_: Request, error: Exception) -> Response:
    _log.error("page failed", error=repr(error), trace="".join(traceback.format_exception(error)))
    words = f"The server could not do this: {type(error).__name__}. `vo -v vet` says more."
    return PlainTextResponse(words, status_code=500)


@dataclass(frozen=True)
class _Desk:
    """What the pages of one person are made from."""

    project: Project
    viewer: Viewer
    keys: Keys

    @cached_property
    def pictures(self) -> Pictures:
        return Pictures(self.project)

    @cached_property
    def tallies(self) -> Tallies:
        return Tallies(self.project, self.viewer)

    @cached_property
    def _pages(self) -> jinja2.Environment:
        # made from a folder of ours; every value is escaped unless a page says otherwise, and none does
        pages = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_HERE / "pages"), autoescape=True, undefined=jinja2.StrictUndefined,
            trim_blocks=True, lstrip_blocks=True,
        )  # fmt: skip
        pages.filters["said"] = said
        pages.filters["survey"] = title_of
        pages.filters["meaning"] = _meaning
        pages.filters["band"] = band_words
        pages.filters["words"] = in_words
        pages.filters["score"] = _three_digits
        pages.filters["kind"] = lambda panel: type(panel).__name__.lower()
        pages.globals |= {
            "project": self.project.name, "viewer": self.viewer, "csrf": self.keys.csrf, "csrf_header": CSRF_HEADER,
            "nonce": self.keys.nonce, "keys": KEYS, "words": WORDS, "columns": queue.COLUMNS,
            "numeric": queue.NUMBERS,
        }  # fmt: skip
        return pages

    def _html(self, name: str, **values: object) -> str:
        return self._pages.get_template(name).render(**values)

    # -- pages ------------------------------------------------------------------------------------------------

    def listing(self, request: Request) -> Response:
        asked = queue.Filter.read(request.query_params)
        rows, after = queue.page(self.project, self.viewer, asked)
        counted = self.tallies.ready(asked)  # else the page asks for the numbers when it is there
        return HTMLResponse(
            self._html(
                "queue.html", asked=asked, rows=rows, after=after, bodies=any(row["epochs"] for row in rows),
                surveys=len(self.project.observatories) > 1, classes=any(row["class"] for row in rows),
                counts=None if counted is None else counted.told(asked),
                total="…" if counted is None else counted.total(asked),
            )
        )  # fmt: skip

    def counts(self, request: Request) -> Response:
        asked = queue.Filter.read(request.query_params)
        counted = self.tallies.of(asked)
        told = {
            "html": self._html("_filters.html", asked=asked, counts=counted.told(asked)),
            "total": counted.total(asked),
        }
        return JSONResponse(told)

    def candidate(self, request: Request) -> Response:
        asked = queue.Filter.read(request.query_params)
        number = request.path_params["number"]
        one = candidate(self.project, self.viewer, number)
        return HTMLResponse(self._html("candidate.html", asked=asked, one=one, body=None))

    def source(self, request: Request) -> Response:
        source = source_named(self.project, request.query_params.get("name", ""))
        rows = siblings(self.project, self.viewer, source.id)
        panels, figures = self.pictures.of_source(source)
        return HTMLResponse(
            self._html(
                "source.html",
                source=source,
                parent=name_of(self.project, source.parent_id),
                rows=rows,
                figures=f"[{', '.join(figures)}]",
                archives=pages_of_source(self.project, source.id),
                frames=frames_of(
                    self.project, source.parent_id or source.id
                ),  # a body is in those of its field
                **_split(panels),
            )
        )

    def frame(self, request: Request) -> Response:
        given = request.query_params.get("product", "")
        product = int(given) if given.isascii() and given.isdigit() and len(given) < 19 else 0
        frame = frame_of(self.project, product)
        panels, figures = self.pictures.of_frame(frame)
        return HTMLResponse(
            self._html(
                "frame.html",
                frame=frame,
                figures=f"[{', '.join(figures)}]",
                without=panels if isinstance(panels, str) else "",
                **_split([] if isinstance(panels, str) else panels),
            )
        )

    def people(self, request: Request) -> Response:
        asked = queue.Filter.read(request.query_params)
        return HTMLResponse(
            self._html(
                "people.html", asked=asked, differing=disagreements(self.project, simulated=self.viewer.blind),
                by_kind=reviewers(self.project).to_dict("records"),
                by_snr=reviewers(self.project, by=("snr",)).to_dict("records"),
            )
        )  # fmt: skip

    # -- what pages ask for -----------------------------------------------------------------------------------

    def candidate_data(self, request: Request) -> Response:
        one = candidate(self.project, self.viewer, request.path_params["number"])
        told = {
            "id": one.number, "source": one.row["source"], "html": self._candidate_html(one),
            "before": max([said["id"] for said in one.said if said["user"] == self.viewer.user], default=0),
            "mine": None if one.mine is None else {name: one.mine[name] for name in ("label", "note")},
            "inherited": [{name: said[name] for name in ("label", "note")} for said in one.inherited],
        }  # fmt: skip
        return JSONResponse(told)

    def figures(self, request: Request) -> Response:
        """Answer with the pictures of a candidate, each a line of JSON that is sent as soon as it is made."""
        number = request.path_params["number"]
        told = may_be_told(self.project, self.viewer, number)
        made = (f"{one}\n" for one in self.pictures.figures(number, told=told))
        return StreamingResponse(made, media_type="application/jsonl")

    def _candidate_html(self, one: Candidate) -> str:
        panels = self.pictures.panels(one.number, told=one.told)
        near = neighbours(self.project, one)
        # a name of a part takes two lines, and a list of more than four scrolls by itself
        beside = 2 * min(len(one.parts), 4) + len(one.said) + min(len(near), 4)
        return self._html(
            "_candidate.html", one=one, without=panels if isinstance(panels, str) else "",
            **_split([] if isinstance(panels, str) else panels, beside),
            near=near,
            archives=pages_of_candidate(self.project, one.number),
            words=words_of(self.project, one.row["analysis"]),
        )  # fmt: skip

    def figure(self, request: Request) -> Response:
        number, n = (request.path_params[name] for name in ("number", "n"))
        told = may_be_told(self.project, self.viewer, number)
        view = _view(request.query_params)
        try:
            return Response(self.pictures.figure(number, n, view, told=told), media_type="application/json")
        except IndexError:
            msg = f"detection {number} has no panel {n}"
            raise Absent(msg) from None

    def ahead(self, request: Request) -> Response:
        asked = queue.Filter.read(request.query_params).but()
        number = request.query_params.get("behind", "")
        behind = int(number) if number.isascii() and number.isdigit() and len(number) < 19 else None
        ids = queue.ahead(self.project, self.viewer, asked, behind)
        return JSONResponse({"ids": ids, "left": self.tallies.of(asked).total(asked)})

    def end(self, request: Request) -> Response:
        asked = queue.Filter.read(request.query_params).but()
        counted = tally(self.project, self.viewer, asked)
        again = {name: counted.total(asked.but(judged=name)) for name in ("open", "unsure")}
        return JSONResponse({"html": self._html("_end.html", asked=asked, again=again)})

    def siblings(self, request: Request) -> Response:
        one = candidate(self.project, self.viewer, request.path_params["number"])
        rows = siblings(
            self.project, self.viewer, one.row["searched_id" if self.viewer.blind else "source_id"]
        )
        return JSONResponse({"html": self._html("_siblings.html", one=one, rows=rows)})

    def metadata(self, request: Request) -> Response:
        one = candidate(self.project, self.viewer, request.path_params["number"])
        return JSONResponse({"html": self._html("_metadata.html", one=one, rows=metadata(self.project, one))})

    async def verdict(self, request: Request) -> Response:
        """Keep a verdict; the answer comes after it is committed."""
        try:
            number, label, note, before = _verdict(await request.json())
            kept = await run_in_threadpool(self._keep, number, label, note, before)
        except (ValueError, RecursionError) as error:  # DataError is one
            return JSONResponse({"error": str(error)[:500]}, status_code=400)
        except VirtualObserverError as error:
            return JSONResponse({"error": str(error)}, status_code=503)
        except DBAPIError:
            return JSONResponse({"error": _AWAY}, status_code=503)
        return JSONResponse({"saved": kept})

    def _keep(self, number: int, label: str, note: str, before: int) -> int:
        together = judged_with(self.project, self.viewer, number)
        (row,) = queue.rows_of(self.project, self.viewer, together[:1])
        kept = give_verdict_once(self.project, number, label, user=self.viewer.user, note=note, after=before)
        self.tallies.judged(row, "" if label == WITHDRAWN else label, kept, len(together))
        return kept


def _three_digits(score: float) -> str:
    """Return a number with as many digits as its neighbours above and below have."""
    return f"{score:#.3g}".rstrip(".") if 1e-3 <= abs(score) < 1e3 else f"{score:.3g}"


def _meaning(name: str) -> str:
    """Return what a fact is, as far as the table of columns says so."""
    column = find(name)
    return "" if column is None else column.description


def _split(panels: Sequence[Panel], beside: int = 0) -> RecordDict:
    """Return the panels that are tables, without what the page says anyhow, and the others with their places.

    `beside` is the number of lines that some candidates have besides their facts.
    """
    tables = [
        replace(one, rows=_paired([row for row in one.rows if row[0] not in _SAID and row[1] is not None]))
        for one in panels
        if isinstance(one, Facts)
    ]
    return {
        "facts": [one for one in tables if one.rows or one.note],
        "long": sum(len(one.rows) for one in tables) + beside > ROOM,
        "pictures": [(n, panel) for n, panel in enumerate(panels) if not isinstance(panel, Facts)],
    }


def _paired(rows: Sequence[Row]) -> list[Row]:
    """Return rows with errors beside the numbers that they are of, both to two digits of the error."""
    values = {name: (value, unit) for name, value, unit in rows}
    told: list[Row] = []
    for name, value, unit in rows:
        of = name.removesuffix("_error").removesuffix(" error")
        if of != name and _goes_with(values.get(of), (value, unit)):
            continue
        for word in (f"{name}_error", f"{name} error"):
            if isinstance(value, float) and _goes_with((value, unit), values.get(word)):
                error = float(values[word][0] or 0.0)
                digits = min(max(1 - int(f"{error:.1e}".partition("e")[2]), 0), 9)
                value = f"{value:.{digits}f} ± {error:.{digits}f}"  # noqa: PLW2901 - as it is read
        told.append((name, value, unit))
    return told


def _goes_with(one: tuple[Cell, str] | None, error: tuple[Cell, str] | None) -> bool:
    """Whether a number has an error in the same unit."""
    if one is None or error is None or one[1] != error[1]:
        return False
    return isinstance(one[0], float) and isinstance(error[0], float) and 0 < error[0] < float("inf")


def _view(given: Mapping[str, str]) -> View:
    scale, fold = given.get("scale", ""), given.get("fold", "")
    try:
        period = float(fold) if fold else None
    except ValueError:
        period = -1.0
    if scale not in ("", "log", "mag") or (period is not None and not 0 < period < float("inf")):
        msg = "a picture has the scale log or mag, and is folded by a positive number"
        raise DataError(msg)
    return View(scale, period)  # type: ignore[arg-type] # one of those


def _verdict(given: object) -> tuple[int, str, str, int]:
    """Return number, verdict, note and the last row that the page knew of, or say what is wrong with what was sent."""
    if isinstance(given, dict):
        number, label, note, before = (given.get(name) for name in ("id", "label", "note", "before"))
        whole = all(type(one) is int and 0 <= one < 2**63 for one in (number, before))
        if whole and label in VERDICTS and isinstance(note, str) and len(note) <= LONGEST_NOTE:
            return number, label, note, before  # type: ignore[return-value] # as was seen
    msg = f"a verdict has id, label ({', '.join(VERDICTS)}), note (at most {LONGEST_NOTE} letters) and before"
    raise DataError(msg)
