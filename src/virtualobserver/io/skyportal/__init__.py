"""Candidates to a SkyPortal (Fritz, Icare and others): sources, photometry and annotations, and back again.

Written after the interface as its handlers document it (``skyportal/handlers/api``: sources, source_groups, photometry,
annotations). Knows no database: what was sent stands in a file for each upload, see `Ledger`.
"""

from virtualobserver.io.skyportal.api import SkyPortalClient
from virtualobserver.io.skyportal.ledger import Ledger, Upload
from virtualobserver.io.skyportal.payload import FILTERS, Candidate, Destination, requests_of
from virtualobserver.io.skyportal.upload import Sent, send, undo

__all__ = [
    "FILTERS",
    "Candidate",
    "Destination",
    "Ledger",
    "Sent",
    "SkyPortalClient",
    "Upload",
    "requests_of",
    "send",
    "undo",
]
