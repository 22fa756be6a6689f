"""Stations: the arms that do a task together, and where they stand."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from roboloop.robot import PREFIX, ROBOTS, Robot

ONLY_ARM = "robot"
"""The name of an arm that is alone."""


@dataclass(frozen=True)
class Mount:
    """An arm of a task: which robot, and where its base stands."""

    name: str
    """`robot`, or `left` and `right`. Its hand is the point `NAME.eef` in constraints."""
    robot: str
    """A key of `ROBOTS`."""
    T_world_base: Float[np.ndarray, "4 4"]
    turn: float = 0.0
    """How far its first joint is turned at home: hands that face each other need room, rad."""

    @property
    def home(self) -> Float[np.ndarray, "n"]:
        """Where the arm's joints are at home."""
        home = np.array(ROBOTS[self.robot].home)
        home[0] += self.turn
        return home

    @property
    def base(self) -> str:
        """What constraints and stages call its base."""
        return f"{self.name}.base"

    @property
    def prefix(self) -> str:
        """Before every name of the arm in a model."""
        return PREFIX if self.name == ONLY_ARM else f"{PREFIX}{self.name}/"


@dataclass(frozen=True)
class Station:
    """One arm, or two of a kind that face each other."""

    name: str
    robot: Robot
    """What every arm is."""
    arms: tuple[str, ...] = (ONLY_ARM,)
    """Names of the arms."""
    apart: tuple[float, float] = (0.0, 0.0)
    """Smallest and largest distance between two bases, m."""
    turn: float = 0.0
    """See `Mount`."""


STATIONS: Mapping[str, Station] = {
    **{name: Station(name, robot) for name, robot in ROBOTS.items()},
    "two_pandas": Station("two_pandas", ROBOTS["panda"], ("left", "right"), (0.85, 1.3), 0.7),
    # ALOHA's own bases: Zhao et al. 2023, as in gym-aloha's model
    "aloha": Station("aloha", ROBOTS["vx300s"], ("left", "right"), (0.938, 0.938), 0.7),
}
"""What `--robot` may be."""


def station_of(arms: tuple[Mount, ...]) -> str:
    """The name of the station that has these arms."""
    names = tuple(arm.name for arm in arms)
    return next(
        name
        for name, station in STATIONS.items()
        if station.arms == names and station.robot.name == arms[0].robot
    )
