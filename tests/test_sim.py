"""Physics in batches: the same bits however it is run, and failures that stay alone."""

import tempfile
from pathlib import Path

import mujoco
import numpy as np
import pytest

from roboloop.errors import RoboloopError
from roboloop.sim import CONTROL_DT, STATE, Simulation, qpos_of, replay_step

N, T = 5, 12


@pytest.fixture(autouse=True)
def failed_steps_go_to(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def pendulum(length: float = 0.3, timestep: float = 0.002, balls: int = 1) -> mujoco.MjModel:
    """A driven pendulum above a table with loose balls."""
    ball = "<body pos='.1 .1 {}'><freejoint/><geom size='.02' density='500'/></body>"
    return mujoco.MjModel.from_xml_string(f"""
    <mujoco><option timestep="{timestep}" integrator="implicitfast"/><worldbody>
      <geom type="plane" size="1 1 .1"/>
      <body pos="0 0 .4"><joint name="j" axis="0 1 0" damping=".05"/>
        <geom type="capsule" fromto="0 0 0 0 0 -{length}" size=".02"/>
        <site name="tip" pos="0 0 -{length}"/></body>
      {"".join(ball.format(0.03 + 0.05 * i) for i in range(balls))}
    </worldbody><actuator><position joint="j" kp="5" kv=".2"/></actuator></mujoco>""")


def models() -> list[mujoco.MjModel]:
    return [pendulum(0.2 + 0.03 * i) for i in range(N)]


def ctrl(n: int = N) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (n, T, 1))


def test_each_simulation_stops_after_its_own_steps():
    whole, sim = Simulation(models()), Simulation(models())
    full, n_steps = whole.rollout(ctrl()).states, np.arange(len(models()))
    some = sim.rollout(ctrl(), n_steps).states
    start = Simulation(models()).states
    for i, n in enumerate(n_steps):
        np.testing.assert_array_equal(some[i, :n], full[i, :n])
        waits = full[i, n - 1] if n else start[i]
        np.testing.assert_array_equal(some[i, n:], np.broadcast_to(waits, some[i, n:].shape))


def test_a_batch_is_a_loop_over_single_simulations():
    together = Simulation(models(), n_threads=2).rollout(ctrl()).states
    for i, model in enumerate(models()):
        alone = Simulation([model]).rollout(ctrl()[i : i + 1]).states
        np.testing.assert_array_equal(together[i], alone[0])


def test_targets_go_linearly_through_a_control_step():
    model = pendulum()
    state = Simulation([model]).rollout(ctrl(1)).states[0, -1]
    data = mujoco.MjData(model)
    n = round(CONTROL_DT / model.opt.timestep)
    ends = np.concatenate([[0.0], ctrl(1)[0, :, 0]])
    for k in range(n * T):
        before, after = ends[k // n : k // n + 2]
        data.ctrl[0] = before + (k % n + 1) / n * (after - before)
        mujoco.mj_step(model, data)
    expected = np.empty(mujoco.mj_stateSize(model, STATE))
    mujoco.mj_getState(model, data, expected, STATE)
    np.testing.assert_allclose(state, expected, atol=1e-12)


def test_an_episode_replays_bit_for_bit_from_any_state():
    first = Simulation(models())
    recorded = first.rollout(ctrl()).states
    again = Simulation(models())
    again.set_states(recorded[:, 3])
    np.testing.assert_array_equal(again.rollout(ctrl()[:, 4:]).states, recorded[:, 4:])


def test_reset_forgets_the_past():
    sim = Simulation(models())
    fresh = sim.rollout(ctrl()).states
    sim.reset()
    np.testing.assert_array_equal(sim.rollout(ctrl()).states, fresh)


def test_reset_takes_configurations_and_targets():
    sim = Simulation(models())
    qpos = np.tile(models()[0].qpos0, (N, 1))
    qpos[:, 0] = np.linspace(-0.5, 0.5, N)
    sim.reset(qpos, qpos[:, :1])
    np.testing.assert_array_equal(qpos_of(models()[0], sim.states), qpos)
    assert not sim.rollout(qpos[:, None, :1]).failed.any()


def test_a_failure_stops_one_simulation_and_leaves_the_others():
    sim, broken = Simulation(models()), Simulation(models())
    good = sim.rollout(ctrl())
    bad_ctrl = ctrl()
    bad_ctrl[2, 5] = np.nan
    bad = broken.rollout(bad_ctrl)
    np.testing.assert_array_equal(bad.failed, [False, False, True, False, False])
    assert not good.failed.any()
    np.testing.assert_array_equal(np.delete(bad.states, 2, 0), np.delete(good.states, 2, 0))
    np.testing.assert_array_equal(bad.states[2, :5], good.states[2, :5])
    assert (bad.states[2, 4:] == good.states[2, 4]).all()


def test_a_failed_step_is_saved_and_replays(capsys):
    sim = Simulation([pendulum()])
    bad = np.zeros((1, 3, 1))
    bad[0, 2] = np.nan
    assert sim.rollout(bad).failed.all()
    assert sim.rollout(bad[:, 2:]).failed.all()  # failing again is not saved again
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "replay" in line]
    folder = Path(line.split()[-1])
    assert replay_step(folder) == "substep 0: the controls are not finite: [nan]"
    with pytest.raises(RoboloopError, match="no saved step here"):
        replay_step(folder / "nowhere")


def test_nothing_is_stepped_when_all_have_failed():
    sim = Simulation([pendulum()])
    start = sim.states
    trajectory = sim.rollout(np.full((1, 3, 1), np.nan))
    assert trajectory.failed.all()
    np.testing.assert_array_equal(trajectory.states[0], np.repeat(start, 3, 0))


def test_models_of_another_layout_are_refused():
    with pytest.raises(RoboloopError, match="the scenes cannot be simulated together: "):
        Simulation([pendulum(), pendulum(balls=2)])


def test_a_step_that_does_not_divide_a_control_step_is_refused():
    with pytest.raises(RoboloopError, match="physics step of model 1, 0.003 s, does not divide"):
        Simulation([pendulum(), pendulum(timestep=0.003)])
