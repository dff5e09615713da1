"""Asteroids: movers of all nights of a field put together and named. Opens no file, sees no image."""

from virtualobserver.analyses.asteroids.search import Asteroids
from virtualobserver.analyses.asteroids.settings import AsteroidInjection, AsteroidsSettings

__all__ = ["AsteroidInjection", "Asteroids", "AsteroidsSettings"]
