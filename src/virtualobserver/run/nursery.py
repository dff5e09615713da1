"""What every worker needs, imported once: workers are forked from the process that imports this module.

Only `multiprocessing`'s fork server imports it, before any worker; it starts no thread and opens nothing.
"""

import ctypes
import gc
import platform

import pandas as pd  # noqa: F401 - pyarrow brings it along at the first COPY

from virtualobserver.maths.kernels import wake
from virtualobserver.run import executors  # noqa: F401 - as above, for all of a batch's way

__all__: list[str] = []

_MMAP_THRESHOLD = -3
"""M_MMAP_THRESHOLD of mallopt(3)."""
_PLANE = 1 << 20
"""Bytes from which on an array has pages of its own. glibc raises its threshold to 32 MB as arrays of that size come
and go, and a chip of 2046 x 4094 in single precision is just below: freed planes then stay with the worker."""

if platform.libc_ver()[0] == "glibc":
    ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _PLANE)
wake()
# What was imported stays where it is: looking at it would copy the pages that workers share.
gc.collect()
gc.freeze()
