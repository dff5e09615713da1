"""Random numbers that NumPy has no method for."""

from __future__ import annotations

import numpy as np

__all__ = ["log_uniform"]


def log_uniform(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    """Draw a number evenly in the logarithm between two positive ones."""
    return float(np.exp(rng.uniform(np.log(limits[0]), np.log(limits[1]))))
