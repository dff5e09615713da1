"""Short pulses and dips along star trails, and what else lights up on drift frames. Knows no camera, opens no file."""

from virtualobserver.analyses.driftscan.search import Driftscan
from virtualobserver.analyses.driftscan.settings import DriftscanSettings, InjectionSettings

__all__ = ["Driftscan", "DriftscanSettings", "InjectionSettings"]
