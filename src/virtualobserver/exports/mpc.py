"""Places of movers in the 80 columns of the Minor Planet Center, a record for each epoch."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from virtualobserver.config.settings import setting
from virtualobserver.export import Export, ExportSettings, View, makers_of
from virtualobserver.io.atomic import replacing
from virtualobserver.io.mpc.movers import ROLES, catalogue_name, observations_of, one_code
from virtualobserver.io.mpc.records import CATALOGUES, header_lines, record

__all__ = ["MPC", "MPCSettings"]


class MPCSettings(ExportSettings):
    """Options of the records of 80 columns."""

    code: str = setting(
        "", doc="Code of the observatory; empty = mpc_code of the survey", pattern=r"^([0-9A-Z][0-9]{2})?$"
    )
    contact: str = setting("", doc="CON: who is asked if something is unclear")
    observers: str = setting("", doc="OBS: who observed, as A. Name, B. Other")
    measurers: str = setting("", doc="MEA: who measured")
    telescope: str = setting("", doc="TEL: e.g. 0.45-m f/2.8 reflector + CCD")
    ack: str = setting("", doc="ACK: subject of the answer")
    catalogue: str = setting("", doc="NET: reference stars as ADES calls them; empty = refcat of the survey")
    note1: str = setting(" ", doc="Column 14, e.g. K for places from stacked images", pattern=r"^[ -~]$")
    note2: str = setting("C", doc="Column 15: C = CCD, B = CMOS", pattern=r"^[A-Za-z]$")
    band: str | None = setting(
        None, doc="Band of all magnitudes; unset = as the survey calls it", pattern=r"^[A-Za-z]$"
    )
    flagged: bool = setting(False, doc="Epochs with a quality flag too")


class MPC(Export[MPCSettings]):
    """Places of movers for the Minor Planet Center, in records of 80 columns."""

    name: ClassVar[str] = "mpc"
    needs: ClassVar[str] = "an analysis that finds movers"
    counts: ClassVar[str] = "observations"

    def offers(self, view: View) -> bool:
        """Whether an analysis of the project finds movers."""
        return bool(makers_of(view, "lightcurve", "mover"))

    def write(self, view: View, path: Path, options: MPCSettings) -> int:
        """Write header and records; return their number. Without movers there is no file.

        Raises
        ------
        ConfigError
            If the observatory's code is not known, or a band is none of the Minor Planet Center.
        """
        searches = {name for role in ROLES for name in makers_of(view, "lightcurve", role)}
        table = view.table("detections")
        found = observations_of(
            table[table["analysis"].isin(searches)], view.products,
            band=options.band, flagged=options.flagged, longest_band=1,
        )  # fmt: skip
        if not found:
            return 0
        code = one_code(options.code, [one.mpc_code for one in view.makers])
        stars = catalogue_name(options.catalogue, [one.refcat for one in view.makers])
        header = [
            ("COD", code), ("CON", options.contact), ("OBS", options.observers), ("MEA", options.measurers),
            ("TEL", options.telescope), ("ACK", options.ack), ("NET", "" if stars == "UNK" else stars),
        ]  # fmt: skip
        lines = [*header_lines(header)]
        letter = CATALOGUES.get(stars, " ")
        lines += [
            record(one, code, note1=options.note1, note2=options.note2, catalogue=letter) for one in found
        ]
        with replacing(path) as temporary:
            temporary.write_text("\n".join(lines) + "\n", encoding="ascii", errors="replace")
        return len(found)
