"""Several arms: what each does by itself, put together; the way of what all of them hold."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from roboloop import pose
from roboloop.cell import set_free
from roboloop.demo.goals import IN_THE_WAY, Unreachable
from roboloop.demo.ways.arm import CARRY_LIFT, Arm
from roboloop.demo.ways.motion import Motion, slowed, smooth, timed

LIFTS = (0.0, CARRY_LIFT, 2 * CARRY_LIFT)
"""How far what all hold is lifted on its way, m; the first that is free."""
SPEED = 0.5
"""Of what all hold, share of the usual speed."""
Alone = Callable[[int, Float[np.ndarray, "nq"]], Motion]
"""Plans a stage that one arm does, from a state; the controls are those of that arm."""


def at_once(
    arms: Mapping[str, Arm], stages: Sequence[int], qpos: Float[np.ndarray, "nq"], alone: Alone
) -> Motion:
    """Plan stages that different arms do at the same time, each by itself; the others stay.

    Arms that would be in each other's way go one after the other.

    Args:
        arms: By name.
        stages: The stages of a step.
        qpos: The state to start from.
        alone: Plans one of them.

    Raises:
        Unreachable: A stage cannot be done.
    """
    task = next(iter(arms.values())).cell.task
    movers = [arms[task.stages[i].arm] for i in stages]
    motions = [_among(arm, alone(i, qpos)) for arm, i in zip(movers, stages, strict=True)]
    if len(stages) == 1:
        return motions[0]
    result = _together(motions)
    if _apart(movers, qpos, result):
        return result
    ctrl, astray, state = [motions[0].ctrl], list(motions[0].astray), qpos
    for k in range(1, len(stages)):
        arm, i = movers[k - 1], stages[k - 1]
        q = ctrl[-1][-1, arm.cell.ctrl][:-1]
        state = arm.moved(state, q, _carried_by(arm, i))
        motion, n = _among(movers[k], alone(stages[k], state)), sum(map(len, ctrl))
        ctrl.append(motion.ctrl)
        astray += [n + t for t in motion.astray]
    return Motion(np.concatenate(ctrl), astray)


def carried(
    arms: Sequence[Arm],
    body: int,
    qpos: Float[np.ndarray, "nq"],
    Ts_world_body: Float[np.ndarray, "S 4 4"],
) -> Float[np.ndarray, "T nu"]:
    """Controls with which what all arms hold goes to a way, and along it; hands stay on it.

    Straight to where the way begins, else lifted.

    Args:
        arms: Those that hold it.
        body: What they hold.
        qpos: The state to start from.
        Ts_world_body: Poses to end with, one a control step.

    Raises:
        Unreachable: An arm cannot follow, or something is in the way.
    """
    Ts_body_eef, problem = on_body(arms, body, qpos), ""
    T_start = arms[0].body_pose(body)
    for lift in LIFTS:
        ends = (T_start, Ts_world_body[0])
        over = (pose.moved_by(T, np.array([0.0, 0.0, lift])) for T in ends)
        way = timed(np.stack([T_start, *over, Ts_world_body[0]]), SPEED)
        Ts = np.concatenate([way, Ts_world_body[1:]])
        try:
            return _followed(arms, Ts, Ts_body_eef, qpos, body)
        except Unreachable as error:
            problem = problem or error.problem
    raise Unreachable(problem)


def on_body(
    arms: Sequence[Arm], body: int, qpos: Float[np.ndarray, "nq"]
) -> list[Float[np.ndarray, "4 4"]]:
    """Where on a body each hand is; the first arm then holds the state."""
    arms[0].update(qpos)
    T_body_world = pose.inverse(arms[0].body_pose(body))
    return [T_body_world @ arm.eef(qpos[arm.cell.arm_qpos]) for arm in arms]


def _followed(
    arms: Sequence[Arm],
    Ts_world_body: np.ndarray,
    Ts_body_eef: list[np.ndarray],
    qpos: np.ndarray,
    body: int,
) -> Float[np.ndarray, "S nu"]:
    """Controls with which the hands keep their places on a body along its way.

    Raises:
        Unreachable: An arm cannot follow, or something is in the way.
    """
    starts = [qpos[arm.cell.arm_qpos] for arm in arms]
    paths = [
        arm.solved(Ts_world_body @ T_body_eef, q)
        for arm, T_body_eef, q in zip(arms, Ts_body_eef, starts, strict=True)
    ]
    together = slowed(arms[0].cell.robot, smooth(np.concatenate(paths, 1)))[1:]
    qs = np.split(together, np.cumsum([len(q) for q in starts])[:-1], axis=1)
    states = np.tile(qpos, (len(together), 1))
    ctrl = np.full((len(together), arms[0].cell.model.nu), np.nan)
    for arm, q in zip(arms, qs, strict=True):
        states[:, arm.cell.arm_qpos] = q
        ctrl[:, arm.cell.ctrl.start : arm.cell.ctrl.stop - 1] = q
    T_first = arms[0].eefs(qs[0]) @ pose.inverse(Ts_body_eef[0])
    set_free(states, arms[0].cell.model, body, T_first)
    inside = arms[0].cell.contents(body, qpos)
    if not all(arms[0].clear_states(states, held=body, inside=inside)):
        raise Unreachable(IN_THE_WAY)
    return ctrl


def _among(arm: Arm, motion: Motion) -> Motion:
    """An arm's motion among those that stay."""
    ctrl = np.full((len(motion.ctrl), arm.cell.model.nu), np.nan)
    ctrl[:, arm.cell.ctrl] = motion.ctrl
    return Motion(ctrl, motion.astray)


def _carried_by(arm: Arm, stage: int) -> int | None:
    """The free body that an arm carries about in a stage."""
    held = arm.cell.task.held(stage)
    return arm.cell.frame_body(held) if held and arm.cell.is_free(held) else None


def _together(motions: Sequence[Motion]) -> Motion:
    """Different arms at once; who is there first waits, and then all hands act."""
    n, astray = max(len(motion.ctrl) for motion in motions), set[int]()
    result = np.full((n, motions[0].ctrl.shape[1]), np.nan)
    for ctrl in (motion.ctrl for motion in motions):
        acts = _acts(ctrl)
        wait = np.repeat(ctrl[acts - 1 : acts], n - len(ctrl), 0)
        longer = np.concatenate([ctrl[:acts], wait, ctrl[acts:]])
        result = np.where(np.isnan(longer), result, longer)
    return Motion(result, sorted(astray.union(*(motion.astray for motion in motions))))


def _acts(ctrl: Float[np.ndarray, "T nu"]) -> int:
    """How many steps the only arm that moves takes before its hand closes or opens."""
    hand = ctrl[:, ~np.isnan(ctrl[0])][:, -1]
    return len(ctrl) if (hand == hand[0]).all() else int(np.argmax(hand != hand[0]))


def _apart(movers: Sequence[Arm], qpos: np.ndarray, motion: Motion) -> bool:
    """Whether the arms that move stay free of each other."""
    ctrl = motion.after(np.zeros(motion.ctrl.shape[1])).ctrl
    states = np.tile(qpos, (len(ctrl), 1))
    for arm in movers:
        states[:, arm.cell.arm_qpos] = ctrl[:, arm.cell.ctrl][:, :-1]
    return all(movers[0].apart(states))
