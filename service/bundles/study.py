"""What is put into a bundle, and whether it can be: experiments that have ended, and how they are to be cited."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from service.errors import Conflict, InvalidRequest
from service.store.experiments import Experiment, get_experiment
from service.store.session import Store, utc_now
from service.store.sweeps import Sweep, open_sweep
from service.store.versions import version_of

MOST_EXPERIMENTS: Final = 50


@dataclass(frozen=True)
class Said:
    """What whoever makes a bundle says of it."""

    title: str = ""
    authors: tuple[str, ...] = ()
    license: str = ""
    """An SPDX identifier or an address; empty: none is stated."""
    with_weights: bool = False
    with_figures: bool = True


@dataclass(frozen=True)
class Study:
    """Experiments of one moment."""

    experiments: tuple[Experiment, ...]
    sweeps: tuple[Sweep, ...]
    """The columns of each."""
    version: str
    """Changes with anything that is measured of them."""
    said: Said
    at: datetime

    @property
    def ids(self) -> list[str]:
        """Of its experiments."""
        return [one.id for one in self.experiments]

    @property
    def title(self) -> str:
        """What it is called; the first experiment's name where nothing was said."""
        return self.said.title or ", ".join(dict.fromkeys(one.name for one in self.experiments))

    @property
    def authors(self) -> tuple[str, ...]:
        """Who made it; the experiments' owners where nothing was said."""
        return self.said.authors or tuple(dict.fromkeys(one.owner for one in self.experiments))


def study_of(store: Store, ids: Sequence[str], said: Said) -> Study:
    """The experiments to bundle.

    Raises:
        NotFound: there is no such experiment.
        Conflict: trials have not ended: what is measured meanwhile would contradict the verdicts beside it.
        InvalidRequest: too many of them.
    """
    wanted = list(dict.fromkeys(ids))
    if len(wanted) > MOST_EXPERIMENTS:
        raise InvalidRequest(f"also: received {len(wanted)} experiments, a bundle holds at most {MOST_EXPERIMENTS}")
    for one in wanted:
        if version_of(store, [one]) is None:
            raise Conflict(
                f"experiment {one} has trials that have not ended: wait for them, or cancel it, and ask again "
                "(a bundle holds what is final)"
            )
    version = version_of(store, wanted)
    if version is None:
        raise Conflict("trials began to run again at the same moment: ask again")
    experiments = tuple(get_experiment(store, one) for one in wanted)
    sweeps = tuple(open_sweep(store, one, "layer") for one in wanted)
    return Study(experiments, sweeps, version, said, utc_now())
