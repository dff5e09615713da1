"""Search for exocomets: variable absorption in Ca II K and H."""

from virtualobserver.analyses.exocomets.search import Exocomets
from virtualobserver.analyses.exocomets.settings import CometInjection, ExocometsSettings

__all__ = ["CometInjection", "Exocomets", "ExocometsSettings"]
