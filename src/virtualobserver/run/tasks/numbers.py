"""The numbers that bodies of a field were given before, whatever the settings were: what has a number keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from virtualobserver.data.product import Target
    from virtualobserver.db.engine import Database

__all__ = ["StoredNumbers"]

_GIVEN = text("""
SELECT d.peak_mjd, d.ra, d.dec, (d.parameters->>'number')::bigint AS number
FROM source f JOIN source s ON s.parent_id = f.id JOIN detection d ON d.source_id = s.id
WHERE f.name = :name AND (:namespace = '' OR f.namespace = :namespace) AND d.analysis = :analysis
  AND d.injection_id IS NULL AND d.parameters ? 'number' AND d.ra IS NOT NULL AND d.dec IS NOT NULL
ORDER BY min(d.id) OVER (PARTITION BY d.parameters->>'number'), d.id""")


@dataclass(frozen=True)
class StoredNumbers:
    """What the database holds of an analysis that numbers what it finds."""

    database: Database
    analysis: str

    def before(self, target: Target) -> list[tuple[float, float, float, int]]:
        """Return time (MJD), place (deg) and number of each detection in a field, the oldest number first."""
        values = {"name": target.name, "namespace": target.namespace or "", "analysis": self.analysis}
        with self.database.engine.connect() as connection:
            rows = connection.execute(_GIVEN, values).all()
        return [(float(mjd), float(ra), float(dec), int(number)) for mjd, ra, dec, number in rows]
