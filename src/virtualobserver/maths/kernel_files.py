"""Where machine code of kernels is kept: a file for each signature, named after it; imports numba.

numba numbers the files of a function by an index that it reads before and writes after. Two processes that compile for
different arguments at once, as the workers of a first run do, choose the same number, and whoever reads the index
next may run code that was made for other arguments. The number is made of the signature here, so that the worst
that such a race leaves is something to be compiled again.
"""

from __future__ import annotations

from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING

import numba
from numba.core.caching import IndexDataCacheFile

if TYPE_CHECKING:
    from numba.core.dispatcher import Dispatcher

__all__ = ["FilesBySignature", "keep_by_signature"]


class FilesBySignature(IndexDataCacheFile):  # type: ignore[misc]  # numba does not say its types
    """Index and files of one function, as numba has them but for their numbers."""

    def save(self, key: object, data: object) -> None:
        """Keep the machine code of a signature; the file is there before the index names it."""
        what = repr((key, self._source_stamp, numba.__version__))
        name = self._data_name(int(sha256(what.encode()).hexdigest()[:15], 16))
        self._save_data(name, data)
        overloads = self._load_index()
        overloads[key] = name
        self._save_index(overloads)


def keep_by_signature(function: Dispatcher) -> None:
    """Have the files of a compiled function named by signature; a numba that is built otherwise keeps its own way."""
    cache = function._cache  # type: ignore[attr-defined]
    with suppress(AttributeError):  # also where nothing is kept
        cache._cache_file = FilesBySignature(
            cache_path=cache.cache_path,
            filename_base=cache._impl.filename_base,
            source_stamp=cache._impl.locator.get_source_stamp(),
        )
