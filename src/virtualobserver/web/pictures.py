"""The pictures of candidates, made once and kept for a while, so that the next one is there when it is asked for."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from virtualobserver.config.log import get_logger
from virtualobserver.data.panels import Facts, Panel
from virtualobserver.errors import VirtualObserverError
from virtualobserver.run.views.panels import detection_panels
from virtualobserver.web.bokeh import View, drawn

if TYPE_CHECKING:
    from virtualobserver.run.opened import Opened

__all__ = ["Pictures"]

_log = get_logger(__name__)

KEPT: Final = 6
"""Candidates whose panels are kept: the one on the page, the next, and those one goes back to."""
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
        self._panels: OrderedDict[int, Sequence[Panel] | str] = OrderedDict()
        self._drawn: OrderedDict[tuple[int, int], str] = OrderedDict()

    def panels(self, number: int) -> Sequence[Panel] | str:
        """Return the panels of a detection, or in one sentence why there are none."""
        with self._lock:
            return self._made(number)

    def figures(self, number: int) -> list[str]:
        """Return all pictures of a detection as JSON texts, in their order; of what are only facts ``null``."""
        with self._lock:
            panels = self._made(number)
            return [] if isinstance(panels, str) else [self._figure(number, n) for n in range(len(panels))]

    def figure(self, number: int, n: int, view: View) -> str:
        """Return one picture of a detection as a JSON text, shown as asked for.

        Raises
        ------
        IndexError
            If there is no such panel.
        """
        with self._lock:
            panels = self._made(number)
            return json.dumps(_drawn(panels[n], number, n, view)) if not isinstance(panels, str) else "null"

    def _made(self, number: int) -> Sequence[Panel] | str:
        if number not in self._panels:
            try:
                self._panels[number] = tuple(detection_panels(self._project, number))
            except (VirtualObserverError, OSError) as error:
                self._panels[number] = str(error)
            except Exception as error:  # noqa: BLE001 - the code of an analysis: what is known is shown all the same
                _log.warning("no pictures", detection=number, error=repr(error))
                self._panels[number] = f"The analysis could not draw this: {type(error).__name__}: {error}"
            while len(self._panels) > KEPT:
                self._panels.popitem(last=False)
        self._panels.move_to_end(number)
        return self._panels[number]

    def _figure(self, number: int, n: int) -> str:
        key = (number, n)
        if key not in self._drawn:
            self._drawn[key] = json.dumps(_drawn(self._panels[number][n], number, n, View()))  # type: ignore[arg-type] # panels
            size = sum(map(len, self._drawn.values()))
            while size > LARGEST and len(self._drawn) > 1:
                size -= len(self._drawn.popitem(last=False)[1])
        self._drawn.move_to_end(key)
        return self._drawn[key]


def _drawn(panel: Panel, number: int | str, n: int, view: View) -> object:
    return None if isinstance(panel, Facts) else drawn(panel, f"picture-{number}-{n}", view)
