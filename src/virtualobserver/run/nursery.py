"""What every worker needs, imported once: workers are forked from the process that imports this module.

Only `multiprocessing`'s fork server imports it, before any worker; it starts no thread and opens nothing.
"""

import gc

import pandas as pd  # noqa: F401 - pyarrow brings it along at the first COPY

from virtualobserver.maths.kernels import wake
from virtualobserver.run import executors  # noqa: F401 - as above, for all of a batch's way

__all__: list[str] = []

wake()
# What was imported stays where it is: looking at it would copy the pages that workers share.
gc.collect()
gc.freeze()
