"""The pictures of candidates, made once and kept for a while, so that the next one is there when it is asked for."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from virtualobserver.config.log import get_logger
from virtualobserver.data.curve_panels import default_panels
from virtualobserver.data.panels import Facts, Panel
from virtualobserver.errors import VirtualObserverError
from virtualobserver.run.views.event_figures import detection_panels
from virtualobserver.typing import RecordDict
from virtualobserver.web.bokeh import drawn
from virtualobserver.web.frames import frame_panels
from virtualobserver.web.views import View

if TYPE_CHECKING:
    from virtualobserver.models import Source
    from virtualobserver.run.opened import Opened

__all__ = ["Pictures"]

_log = get_logger(__name__)

KEPT: Final = 6
"""Candidates whose panels are kept: the one on the page, the next, and those one goes back to."""
MOST_OF_A_SOURCE: Final = 12
"""Panels of a source that are shown; a source of many nights has hundreds."""
LARGEST: Final = 64 * 2**20
"""Bytes of drawn figures that are kept together."""


class Pictures:
    """The panels of the detections of a project, and the figures made of them.

    One is made at a time: readers of files and compiled kernels are not for several threads, and who waits for a
    candidate that is being prepared gets it as soon as it is there.
    """

    def __init__(self, project: Opened) -> None:
        self._project = project
        self._lock = threading.Lock()
        self._panels: OrderedDict[tuple[int, bool], Sequence[Panel] | str] = OrderedDict()
        self._drawn: OrderedDict[tuple[int, bool, int], str] = OrderedDict()

    def panels(self, number: int, *, told: bool) -> Sequence[Panel] | str:
        """Return the panels of a detection, or in one sentence why there are none.

        Parameters
        ----------
        told
            Whether, of an injected event, a panel says what was injected.
        """
        with self._lock:
            return self._made(number, told)

    def figures(self, number: int, *, told: bool) -> Iterator[str]:
        """Yield all pictures of a detection as JSON texts, in their order; of what are only facts ``null``.

        Others may be made in between, so that who waits for one waits for no more than another one.
        """
        panels = self.panels(number, told=told)
        for n in range(0 if isinstance(panels, str) else len(panels)):
            with self._lock:
                made = self._figure(number, told, n)
            yield made

    def figure(self, number: int, n: int, view: View, *, told: bool) -> str:
        """Return one picture of a detection as a JSON text, shown as asked for.

        Raises
        ------
        IndexError
            If there is no such panel.
        """
        with self._lock:
            panels = self._made(number, told)
            return "null" if isinstance(panels, str) else json.dumps(_drawn(panels[n], number, n, view))

    def of_source(self, source: Source) -> tuple[Sequence[Panel], list[str]]:
        """Return what the analyses show of a source, else what it has, and the pictures of that as JSON texts."""
        with self._lock:
            panels: list[Panel] = []
            for step in self._project.steps:
                if step.kind == "analyse" and not panels:
                    parts, aux = source.parts(step.instance), source.aux(step.instance)
                    sheets = [
                        step.instance.source_panels(some, aux, step.instance.settings)
                        for some in parts.values()
                    ]
                    panels = [panel for sheet in sheets for some in sheet.values() for panel in some]
            if not panels:
                handles = source.handles()
                # of what was discovered the light curves that were made of it
                reduced = [one for one in handles if one.info.role == "reduced"]
                panels = default_panels(reduced or [one for one in handles if one.info.kind == "lightcurve"])
            panels = panels[:MOST_OF_A_SOURCE]
            return panels, [json.dumps(_drawn(panel, "source", n, View())) for n, panel in enumerate(panels)]

    def of_frame(self, frame: RecordDict) -> tuple[Sequence[Panel] | str, list[str]]:
        """Return the panels of an image, or in one sentence why there are none, and its pictures as JSON texts."""
        with self._lock:
            panels = frame_panels(self._project, frame)
            drawings = [] if isinstance(panels, str) else list(enumerate(panels))
            return panels, [json.dumps(_drawn(panel, "source", n, View())) for n, panel in drawings]

    def _made(self, number: int, told: bool) -> Sequence[Panel] | str:
        key = (number, told)
        if key not in self._panels:
            self._panels[key] = self._make(number, told)
            while len(self._panels) > KEPT:
                self._panels.popitem(last=False)
        self._panels.move_to_end(key)
        return self._panels[key]

    def _make(self, number: int, told: bool) -> Sequence[Panel] | str:
        try:
            return tuple(detection_panels(self._project, number, told=told))
        except (VirtualObserverError, OSError) as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - the code of an analysis: what is known is shown all the same
            _log.warning("no pictures", detection=number, error=repr(error))
            return f"The analysis could not draw this: {type(error).__name__}: {error}"

    def _figure(self, number: int, told: bool, n: int) -> str:
        key = (number, told, n)
        if key not in self._drawn:
            panels = self._made(number, told)
            self._drawn[key] = json.dumps(_drawn(panels[n], number, n, View()))  # type: ignore[arg-type] # panels
            size = sum(map(len, self._drawn.values()))
            while size > LARGEST and len(self._drawn) > 1:
                size -= len(self._drawn.popitem(last=False)[1])
        self._drawn.move_to_end(key)
        return self._drawn[key]


def _drawn(panel: Panel, number: int | str, n: int, view: View) -> object:
    return None if isinstance(panel, Facts) else drawn(panel, f"picture-{number}-{n}", view)
