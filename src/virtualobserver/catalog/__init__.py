"""Target lists and reference stars: reading, checking, selecting, moving to an epoch. Knows no row and no survey."""

from virtualobserver.catalog.origins import read_catalog
from virtualobserver.catalog.remote import named, named_catalogs, query_gaia, query_gaia_cone, query_vizier
from virtualobserver.catalog.select import evaluate
from virtualobserver.catalog.table import Catalog

__all__ = [
    "Catalog",
    "evaluate",
    "named",
    "named_catalogs",
    "query_gaia",
    "query_gaia_cone",
    "query_vizier",
    "read_catalog",
]
