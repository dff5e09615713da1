"""Base class of all ways out: what writes a project's results as another program reads them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, NamedTuple, Protocol

from typing_extensions import TypeVar

from virtualobserver.config.settings import Configured, Settings
from virtualobserver.maths.times import Site

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from virtualobserver.data.handles import Container, Handle
    from virtualobserver.data.product import Target

__all__ = ["Export", "ExportSettings", "Group", "Maker", "View", "makers_of"]


class Group(NamedTuple):
    """Products that belong together, not loaded yet: those of a source, or of one of its nights.

    Parameters
    ----------
    source
        Name of the source.
    unit
        Name of the unit, e.g. a night; empty where there are no units.
    products
        Handles in the order in which a run hands them out.
    """

    source: str
    unit: str
    products: Sequence[Handle]


@dataclass(frozen=True)
class Maker:
    """A survey or an analysis of a project: what it makes, and from what.

    Parameters
    ----------
    kind, name
        Which plug-in it is.
    makes
        Kinds and roles of its products, those of the named parts of a reduction too.
    works_on
        Kinds and roles of the products that an analysis searches; empty for a survey.
    levels
        What the parts of a survey's units are: ``("night", "frame")``.
    facility, instrument
        Names of a survey's telescope and instrument.
    site
        Where a survey's telescope stands, if that is one place.
    mpc_code
        Its code at the Minor Planet Center, if it has one.
    refcat
        A survey's catalogue of reference stars, ``<name>@<version>``, if it uses one.
    """

    kind: Literal["survey", "analysis"]
    name: str
    makes: frozenset[tuple[str, str]] = frozenset()
    works_on: frozenset[tuple[str, str]] = frozenset()
    levels: tuple[str, ...] = ()
    facility: str = ""
    instrument: str = ""
    site: Site | None = None
    mpc_code: str = ""
    refcat: str = ""


class View(Protocol):
    """A project as a way out sees it: to be read, in its current configurations."""

    @property
    def project(self) -> str:
        """Name of the project."""
        ...

    @property
    def simulated(self) -> bool:
        """Whether `table` and `groups` take in what is simulated."""
        ...

    @property
    def makers(self) -> Sequence[Maker]:
        """The project's surveys and analyses."""
        ...

    def table(self, what: str) -> pd.DataFrame:
        """Return ``detections``, ``lightcurves``, ``properties``, ``sources`` or ``injections``.

        Times are ISO 8601 text (UTC), and what is JSON is text.
        """
        ...

    def verdicts(self) -> pd.DataFrame:
        """Return what people said of detections, the oldest first, as `virtualobserver.Project.verdicts` does."""
        ...

    def target(self, source: str) -> Target:
        """Return position and magnitude of a source, by name or alias.

        Raises
        ------
        ConfigError
            If the project has no such source.
        """
        ...

    def products(self, source: str) -> Sequence[Handle]:
        """Return all products of a source, by name or alias; simulated ones too, since it is asked for by name."""
        ...

    def groups(self, maker: Maker) -> Iterator[Group]:
        """Yield what a survey made, its named parts with it, or what an analysis searched, by source or night."""
        ...

    def prepared(self, maker: Maker, group: Group) -> Sequence[Container]:
        """Return what an analysis searches of a group, as `Analysis.prepared` gives it."""
        ...


def makers_of(view: View, kind: str, role: str) -> list[str]:
    """Return the names of the surveys and analyses of a project that make products of a kind and role."""
    return [one.name for one in view.makers if (kind, role) in one.makes]


class ExportSettings(Settings):
    """Options of a way out; none by default."""


# without them, a class or an argument takes any
S = TypeVar("S", bound=ExportSettings, default=Any)


class Export(Configured, ABC, Generic[S]):
    """A way out: one file in ``virtualobserver/exports``, beside a configuration, or in another package.

    `write` gets a `View` of the project, and knows no database and no plug-in. The first line of the docstring is
    what ``vo list`` says of it.
    """

    name: ClassVar[str]
    needs: ClassVar[str] = ""
    """What a project has to have for it, for the message where `offers` says no: ``"a survey of spectra"``."""

    counts: ClassVar[str] = "parts"
    """What the number that `write` returns counts."""

    Settings: ClassVar[type[ExportSettings]] = ExportSettings
    """The class of its options: what stands in the brackets, unless the class says otherwise."""

    def offers(self, view: View) -> bool:  # noqa: ARG002
        """Whether the project makes what is written; by default any does."""
        return True

    @abstractmethod
    def write(self, view: View, path: Path, options: S) -> int:
        """Write a file or a folder and return how many things are in it (`counts`).

        Parameters
        ----------
        view
            The project.
        path
            A file or a folder, as this way out wants it; the folder above is there.
        options
            An object of `Settings`.

        Raises
        ------
        DataError
            If `path` or the data cannot be of this kind.
        """
