"""Masters read from the store; the last few are kept, since a night of frames has the same ones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import numpy as np

from virtualobserver.data.handles import Handle
from virtualobserver.data.image import Image
from virtualobserver.maths.ccd.masters import Master, compare_masters

__all__ = ["Load", "LoadedMasters", "load_master"]

Load = Callable[[Handle[Image] | None], Master | None]
_PAIRS: Final = 15
"""Comparisons kept beside the newest, for the exposure times and filters of a night. Chosen, not tuned."""
_KEPT: Final = 3  # bias, dark and flat of one frame


class LoadedMasters:
    """Reads masters, and keeps the last three: those of the frame before are those of the next one."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, object], Master] = OrderedDict()
        self._change: dict[tuple[object, object], float] = {}

    def __call__(self, handle: Handle[Image] | None) -> Master | None:
        """Return the master behind a handle; None for None."""
        if handle is None or handle.info.product_id is None:
            return load_master(handle)
        key = (handle.info.product_id, handle.info.statistics.get("hash"))
        master = self._kept.pop(key, None)
        while len(self._kept) >= _KEPT:  # before the next one is read, so that no more are ever held
            self._kept.popitem(last=False)
        if master is None:
            master = load_master(handle)
        assert master is not None
        self._kept[key] = master
        return master

    def change(self, new: Handle[Image], old: Handle[Image]) -> float:
        """Return the part of pixels in which two masters differ, see `compare_masters`; NaN if it cannot be told."""
        pair = (new.info.statistics.get("hash"), old.info.statistics.get("hash"))
        if pair not in self._change:
            one, other = self(new), load_master(old)
            assert one is not None
            assert other is not None
            self._change = {pair: compare_masters(one, other)} | dict(list(self._change.items())[:_PAIRS])
        return self._change[pair]


def load_master(handle: Handle[Image] | None) -> Master | None:
    """Read a master; None for None."""
    if handle is None:
        return None
    image: Image = handle.load()
    facts = handle.info.statistics
    assert image.variance is not None
    assert image.mask is not None
    return Master(
        image.data.astype(np.float32, copy=False), image.variance.astype(np.float32, copy=False),
        image.mask.astype(np.uint16, copy=False), np.zeros((0, 0), np.uint16),
        int(facts.get("n_combine") or 0), int(facts.get("n_reject") or 0), unit=image.unit,
        exptime=float(facts.get("exposure") or 0.0), temperature=facts.get("temperature"),
        band=str(facts.get("band") or ""),
    )  # fmt: skip
