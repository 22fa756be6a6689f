"""Physics: the only module that steps it. N simulations at once, each on its own model.

An action is a row of position targets. Within its control step the servos' targets go linearly from
the previous row to this one, so that 20 Hz actions make smooth motion. A state is MuJoCo's full
integration state: state and actions together replay an episode bit for bit on the same machine.
"""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np
from jaxtyping import Bool, Float, Int
from mujoco.batch import Batch, SimulationError

from roboloop import console
from roboloop.errors import RoboloopError

CONTROL_DT = 0.05
"""Duration of a control step, s."""
STATE = mujoco.mjtState.mjSTATE_INTEGRATION
MODEL, STEP = "model.mjb", "step.npz"
"""What is kept of a control step that failed: the model; the state before it, and its controls."""


@dataclass(frozen=True)
class Trajectory:
    """What happened in N simulations over T control steps."""

    states: Float[np.ndarray, "N T nstate"]
    """Full states after every control step; one that failed or waits repeats its last good one."""
    failed: Bool[np.ndarray, "N"]
    """Simulations that diverged or ran out of memory: MuJoCo warned, or raised an error."""


class Simulation:
    """N simulations of models with the same layout, stepped together on threads.

    Args:
        models: One model a simulation.
        n_threads: Threads; results do not depend on it.

    Raises:
        RoboloopError: The models differ in layout or step, or a control step is no whole number of
            physics steps.
    """

    def __init__(self, models: Sequence[mujoco.MjModel], n_threads: int = 1) -> None:
        first = models[0]
        self.n_substeps = round(CONTROL_DT / first.opt.timestep)
        for i, model in enumerate(models):
            if abs(self.n_substeps * model.opt.timestep - CONTROL_DT) > 1e-9:
                raise RoboloopError(
                    f"the physics step of model {i}, {model.opt.timestep} s, does not divide the "
                    f"control step of {CONTROL_DT} s, or is not that of model 0"
                )
        self._models = models
        self._saved = np.zeros(len(models), bool)
        self._batch = Batch(first, len(models), n_threads)
        try:
            self._batch.set_models(models)
        except mujoco.FatalError as error:
            raise RoboloopError(f"the scenes cannot be simulated together: {error}") from error
        self._ctrl = self._batch.bind("ctrl")
        self._ramp = np.arange(1, self.n_substeps + 1)[:, None] / self.n_substeps

    @property
    def states(self) -> Float[np.ndarray, "N nstate"]:
        """A copy of the full states now."""
        return self._batch.state.copy()

    def set_states(self, states: Float[np.ndarray, "N nstate"]) -> None:
        """Go on from these states, in place."""
        self._batch.state[:] = states

    def reset(
        self,
        qpos: Float[np.ndarray, "N nq"] | None = None,
        ctrl: Float[np.ndarray, "N nu"] | None = None,
    ) -> None:
        """Start at rest, in place.

        Args:
            qpos: Configurations; None is the models' own.
            ctrl: Where the servos' targets are now; None for zeros.
        """
        self._batch.reset(stage=int(mujoco.mjtStage.mjSTAGE_NONE))
        if qpos is not None:
            self._batch.bind("qpos")[:] = qpos
        if ctrl is not None:
            self._ctrl[:] = ctrl

    def rollout(
        self, ctrl: Float[np.ndarray, "N T nu"], n_steps: Int[np.ndarray, "N"] | None = None
    ) -> Trajectory:
        """Advance by T control steps, in place, and record the state after each.

        Args:
            ctrl: Targets that the servos have reached at the end of each control step.
            n_steps: Control steps that each simulation takes before it waits; None for T.
        """
        n, longest, _ = ctrl.shape
        n_steps = np.full(n, longest) if n_steps is None else n_steps
        states = np.empty((n, longest, self._batch.nstate))
        failed = np.zeros(n, bool)
        for t in range(longest):
            before = self._ctrl[:, None].copy()
            ramp = before + self._ramp * (ctrl[:, t, None] - before)
            self._advance(ramp, np.flatnonzero(~failed & (t < n_steps)), failed)
            states[:, t] = self._batch.state
        return Trajectory(states, failed)

    def _advance(
        self, ramp: Float[np.ndarray, "N S nu"], ids: np.ndarray, failed: Bool[np.ndarray, "N"]
    ) -> None:
        """Run the substeps of one control step, in place; what fails is saved, and stops."""
        before, warnings = self.states, self._batch.warning.copy()
        try:
            self._batch.rollout(self.n_substeps, ramp[ids], record=(), ids=ids)
        except SimulationError as error:
            failed[error.ids] = True
        warned = self._batch.warning != warnings
        if not (warned.any() or failed.any()):
            return
        failed |= warned.any((1, 2))
        self._batch.state[failed] = before[failed]
        # the first failure of a simulation is enough: it may be stepped on, and fail again
        for i in map(int, np.flatnonzero(failed & ~self._saved)):
            self._saved[i] = True
            folder = save_step(self._models[i], before[i], ramp[i])
            console.warn(f"a simulation failed; to replay it: python -m roboloop.sim {folder}")


def save_step(
    model: mujoco.MjModel, state: Float[np.ndarray, "nstate"], ctrl: Float[np.ndarray, "S nu"]
) -> Path:
    """Save a control step to a new temporary folder, for `replay_step`."""
    folder = Path(tempfile.mkdtemp(prefix="roboloop_failed_step_"))
    mujoco.mj_saveModel(model, str(folder / MODEL))
    np.savez(folder / STEP, state=state, ctrl=ctrl)
    return folder


def replay_step(folder: Path) -> str:
    """Do a saved control step again, substep by substep, and say where it fails.

    Raises:
        RoboloopError: The folder holds no such step.
    """
    if not (folder / MODEL).exists():
        raise RoboloopError("no saved step here", f"{MODEL} and {STEP} make one", folder)
    model, step = mujoco.MjModel.from_binary_path(str(folder / MODEL)), np.load(folder / STEP)
    data = mujoco.MjData(model)
    mujoco.mj_setState(model, data, step["state"], STATE)
    for k, ctrl in enumerate(step["ctrl"]):
        data.ctrl[:] = ctrl
        if not np.isfinite(ctrl).all():
            return f"substep {k}: the controls are not finite: {ctrl}"
        mujoco.mj_step(model, data)
        if data.warning.number.any():
            (kind,) = np.flatnonzero(data.warning.number)[:1]
            where = data.warning.lastinfo[kind]
            return f"substep {k}: {mujoco.mjtWarning(kind).name} at index {where}"
    return f"{len(step['ctrl'])} substeps went well"


def qpos_of(
    model: mujoco.MjModel, states: Float[np.ndarray, "*B nstate"]
) -> Float[np.ndarray, "*B nq"]:
    """Return the configurations in full states."""
    start = mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_TIME)
    return states[..., start : start + model.nq]


def place(
    model: mujoco.MjModel,
    states: Float[np.ndarray, "*B nstate"],
    joint: int,
    value: Float[np.ndarray, "n"],
) -> None:
    """Put what a joint moves somewhere else, at rest, in full states, in place.

    Args:
        model: The model.
        states: Full states.
        joint: Its id; that of a free joint places a whole object.
        value: Its part of qpos: (xyz, wxyz) of a free joint, else (1,).
    """
    start = mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_TIME)
    at = start + model.jnt_qposadr[joint]
    states[..., at : at + len(value)] = value
    at = start + model.nq + model.jnt_dofadr[joint]
    states[..., at : at + (6 if len(value) > 1 else 1)] = 0.0


if __name__ == "__main__":
    console.emit(replay_step(Path(sys.argv[1])))
