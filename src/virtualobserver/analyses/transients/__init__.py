"""Search for flares and dips in light curves. Knows no survey and opens no file."""

from virtualobserver.analyses.transients.search import Transients
from virtualobserver.analyses.transients.settings import InjectionSettings, TransientsSettings

__all__ = ["InjectionSettings", "Transients", "TransientsSettings"]
