import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from roboloop import pose
from roboloop.data.cache import Cache, object_numbers
from roboloop.data.views import View
from roboloop.errors import RoboloopError
from roboloop.policy.act import Act
from roboloop.policy.act_policy import ActPolicy, Arm
from roboloop.policy.base import Checkpoint, check_observation
from roboloop.policy.clock import RECENT_STEPS, Clock, recorded_recency
from roboloop.policy.encoders import conv, grid
from roboloop.policy.geometry import (
    TIP,
    Hand,
    Things,
    aligned,
    hand_in,
    places_at,
    rotations,
    seen_at,
    turned_at,
)
from roboloop.policy.load import load_policy
from roboloop.policy.model import Sight
from roboloop.policy.recipes import ActConfig
from roboloop.policy.references import NoOpPolicy, ReplayNearestPolicy
from roboloop.policy.samples import (
    Samples,
    measure_scaling,
    numbers_of,
    shifted,
    waypoint_frames,
)
from roboloop.policy.text import hash_words
from roboloop.policy.train import Schedule, read_curve, train
from roboloop.robot import ROBOTS, forward_kinematics

SMALL = ActConfig(
    chunk_steps=4, channels=8, n_keypoints=4, d_model=16, n_heads=2, n_layers=1, latent=2
)
SCHEDULE = Schedule(steps=6, batch=4, save_steps=2)
PX, N_ARM = 24, 3
TASK = "put the bowl on the plate"
HAND_NAMES = tuple(f"eef.{part}{axis}" for part in ("", "x_", "y_") for axis in "xyz")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_cache(n_episodes=4, n_steps=12, seed=0):
    rng = np.random.default_rng(seed)
    n = n_episodes * n_steps
    phase = np.arange(n)[:, None] * 0.2 + np.arange(N_ARM + 1)
    joints = np.sin(phase) + 0.1 * rng.normal(size=phase.shape)
    hand = np.concatenate([joints[:, :3], np.tile(np.eye(3)[:2].ravel(), (n, 1))], 1)
    state = np.concatenate([joints, hand], 1).astype(np.float32)
    action = np.sin(phase + 0.2).astype(np.float32)
    action[:, -1] = np.arange(n) % n_steps < n_steps // 2
    return Cache(
        images={c: rng.integers(0, 256, (n, PX, PX, 3), np.uint8) for c in ("front", "wrist")},
        state=state,
        action=action,
        imitate=np.arange(n) % 5 > 0,
        action_eef=np.tile(np.eye(1, 8, 3, dtype=np.float32), (n, 1)),
        starts=np.arange(0, n + 1, n_steps),
        tasks=(TASK,) * n_episodes,
    )


class MovedArm:
    """Kinematics of an arm that is brought anywhere by moving all joints as far."""

    def __init__(self, far):
        self.far, self.asked = far, []

    def turned(self, q):
        return torch.eye(3).expand(len(q), 3, 3)

    def brought(self, near, p_base, R_base_eef):
        self.asked.append(R_base_eef)
        return near + self.far


def make_checkpoint(config=SMALL):
    joints = tuple(f"joint{i}" for i in range(N_ARM))
    return Checkpoint(
        recipe="act",
        config=config,
        robot="of three joints",
        fps=20,
        cameras=("front", "wrist"),
        hand_cameras=(),
        px=PX,
        state_names=(*joints, "opening", *HAND_NAMES),
        action_names=(*joints, "gripper"),
        tasks=(TASK,),
        step=0,
    )


def make_observation(cache, frames):
    return {
        "observation.state": cache.state[frames],
        "task": [TASK] * len(frames),
        **{f"observation.images.{name}": images[frames] for name, images in cache.images.items()},
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("trained")
    train(make_cache(), make_checkpoint(), SCHEDULE, out, seed=0)
    return out


def test_loss_falls(tmp_path):
    schedule = Schedule(steps=40, batch=8, save_steps=10, learning_rate=3e-3)
    curve = train(make_cache(), make_checkpoint(), schedule, tmp_path, seed=0)
    assert curve[-1]["loss"] < 0.85 * curve[0]["loss"]
    assert read_curve(tmp_path / "curve.csv")[-1]["step"] == 40


def test_a_killed_run_goes_on_exactly(trained, tmp_path, monkeypatch):
    from roboloop.policy import train as module

    saves = []
    save = module._save

    def killed(*args):
        save(*args)
        saves.append(args)
        if len(saves) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "_save", killed)
    with pytest.raises(KeyboardInterrupt):
        train(make_cache(), make_checkpoint(), SCHEDULE, tmp_path, seed=0)
    assert read_curve(tmp_path / "curve.csv")[-1]["step"] == 4
    train(make_cache(), make_checkpoint(), SCHEDULE, tmp_path, seed=0)
    for name in ("model.safetensors", "checkpoints/last.safetensors", "policy.json"):
        assert (tmp_path / name).read_bytes() == (trained / name).read_bytes()
    assert [row["step"] for row in read_curve(tmp_path / "curve.csv")] == [2, 4, 6]


def test_two_workers_learn_what_one_learns(trained, tmp_path):
    train(make_cache(), make_checkpoint(), SCHEDULE, tmp_path, seed=0, workers=2)
    name = "checkpoints/last.safetensors"
    assert (tmp_path / name).read_bytes() == (trained / name).read_bytes()


def test_another_seed_gives_other_weights(trained, tmp_path):
    train(make_cache(), make_checkpoint(), SCHEDULE, tmp_path, seed=1)
    name = "model.safetensors"
    assert (tmp_path / name).read_bytes() != (trained / name).read_bytes()


def test_one_robot_acts_as_it_does_among_many(trained):
    policy, cache = load_policy(str(trained)), make_cache()
    frames = np.arange(5)
    policy.reset(5)
    together = policy.act(make_observation(cache, frames))
    assert together.shape == (5, SMALL.chunk_steps, N_ARM + 1)
    assert together.dtype == np.float32
    fewer = load_policy(str(trained), execute_steps=2).act(make_observation(cache, frames))
    np.testing.assert_array_equal(fewer, together[:, :2])
    for i in frames:
        policy.reset(1)
        alone = policy.act(make_observation(cache, frames[i : i + 1]))
        np.testing.assert_allclose(alone[0], together[i], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("space", ["joint", "joint_delta"])
def test_perfect_predictions_give_back_the_recorded_actions(space):
    samples = Samples(make_cache(), replace(SMALL, action_space=space))
    net = Act(samples.config, ("front", "wrist"), (), measure_scaling(samples))
    frames = np.arange(8)
    batch = {
        name: torch.from_numpy(values)
        for name, values in samples.draw(np.random.default_rng(0), frames, augment=False).items()
    }
    arm, gripper = net._targets(batch)
    net.model.act = lambda *args: (arm[:, :1], gripper[:, :1] - 0.5)
    actions = net.actions({**batch, "state": batch["state"][:, 0]})
    recorded = samples.cache.action[samples.later(frames[:, None], np.arange(SMALL.chunk_steps))]
    np.testing.assert_allclose(actions, recorded, atol=1e-5)


@pytest.mark.parametrize("space", ["joint", "joint_delta"])
def test_who_goes_all_the_way_gets_to_the_next_posture(space):
    samples = Samples(make_cache(), replace(SMALL, action_space=space))
    net = Act(samples.config, ("front", "wrist"), (), measure_scaling(samples)).eval()
    last = net.model.actions[-1]
    for value, weight in (
        (0.0, last.weight),
        (0.0, last.bias),
        (99.0, last.bias[N_ARM + 1 :: N_ARM + 2]),
    ):
        weight.data.fill_(value)
    drawn = samples.draw(np.random.default_rng(0), np.arange(5), augment=False)
    batch = {name: torch.from_numpy(values) for name, values in drawn.items()}
    postures = net._posture_scaled(batch["postures"])
    sight = Sight(torch.zeros(5, SMALL.d_model), {}, {}, {}, None, None)
    moves, _ = net._act(sight, batch["state"], batch["places"], postures, None)
    told = moves * net.arm_std + net.arm_mean
    if space == "joint_delta":
        told = told + batch["state"][:, :, None, :N_ARM]
    recorded = batch["postures"][:, :, :1].expand_as(told)
    np.testing.assert_allclose(told.detach(), recorded, atol=1e-4)


def panda_cache(n_episodes=3, n_steps=12) -> Cache:
    """Ways of a Panda whose targets are a little ahead, around one of two objects."""
    panda, rng, n = ROBOTS["panda"], np.random.default_rng(0), n_episodes * n_steps
    q = np.array(panda.home) + 0.02 * np.arange(n)[:, None] * rng.normal(size=7)
    told = q + 0.02 * rng.normal(size=q.shape)
    T, T_told = forward_kinematics(panda, q), forward_kinematics(panda, told)
    hand = [T[:, :3, 3], T[:, :3, 0], T[:, :3, 1]]
    gripper = (np.arange(n) % n_steps < n_steps // 2)[:, None]
    eef = [T_told[:, :3, 3], pose.matrix_to_quat(T_told[:, :3, :3]), gripper]
    Ts = pose.from_parts(rng.normal(size=(2, 3)), pose.rotvec_to_matrix(rng.normal(size=(2, 3))))
    return replace(
        make_cache(n_episodes, n_steps),
        images={},
        state=np.concatenate([q, gripper, *hand], 1).astype(np.float32),
        action=np.concatenate([told, gripper], 1).astype(np.float32),
        action_eef=np.concatenate(eef, 1).astype(np.float32),
        objects=np.tile(object_numbers(Ts), (n, 1, 1)),
    )


def test_a_policy_without_images_is_told_where_objects_are(tmp_path):
    rng, cache = np.random.default_rng(0), make_cache()
    objects = rng.normal(size=(len(cache.state), 2, 15)).astype(np.float32)
    cache = replace(cache, images={}, objects=objects)
    train(cache, replace(make_checkpoint(), cameras=(), px=0), SCHEDULE, tmp_path, seed=0)
    policy, other = load_policy(str(tmp_path)), load_policy(str(tmp_path))
    assert policy.sense == "poses"
    now = {"observation.state": cache.state[:2], "task": [TASK] * 2}
    Ts = pose.from_parts(
        rng.normal(size=(2, 2, 3)), pose.rotvec_to_matrix(rng.normal(size=(2, 2, 3)))
    )
    everything = {**now, "observation.environment_state": Ts}
    for each in (policy, other):
        each.act(everything)
    seen = policy.act(everything)
    assert seen.shape == (2, SMALL.chunk_steps, N_ARM + 1)
    hidden = Ts.copy()
    hidden[0, 1] = np.nan
    unseen = {**now, "observation.environment_state": hidden}
    assert np.array_equal(other.act(unseen), seen)  # it is where it was
    assert not np.array_equal(policy.act({**now, "observation.environment_state": Ts[::-1]}), seen)
    with pytest.raises(RoboloopError, match="poses of 1 objects .* trained on 2"):
        policy.act({**now, "observation.environment_state": Ts[:, :1]})
    with pytest.raises(RoboloopError, match="the policy needs observation.environment_state"):
        policy.act(now)


def test_another_version_is_refused(trained, tmp_path):
    record = json.loads((trained / "policy.json").read_text())
    (tmp_path / "policy.json").write_text(json.dumps({**record, "version": 1}))
    with pytest.raises(RoboloopError, match="version 1, this program reads 11"):
        load_policy(str(tmp_path))


def test_damaged_checkpoints_are_refused(trained, tmp_path):
    for name in ("policy.json", "model.safetensors"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(RoboloopError, match="model.safetensors is damaged"):
        load_policy(str(tmp_path))
    weights.unlink()
    with pytest.raises(RoboloopError, match="no file model.safetensors"):
        load_policy(str(tmp_path))
    record = json.loads((trained / "policy.json").read_text())
    record["config"]["d_model"] = 32
    (tmp_path / "policy.json").write_text(json.dumps(record))
    weights.write_bytes((trained / "model.safetensors").read_bytes())
    with pytest.raises(RoboloopError, match="does not fit policy.json"):
        load_policy(str(tmp_path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"object_poses": np.zeros((1, 7))}, "shown object_poses"),
        ({"observation.environment_state": np.zeros(1)}, "shown observation.environment_state"),
        ({"observation.images.front": np.zeros((1, 32, 32, 3), np.uint8)}, "has 32 x 32 px"),
    ],
)
def test_the_policy_sees_nothing_privileged(trained, change, message):
    observation = make_observation(make_cache(), np.arange(1)) | change
    with pytest.raises(RoboloopError, match=message):
        ActPolicy.load(trained, 8).act(observation)


def test_missing_observations_are_named():
    with pytest.raises(RoboloopError, match=r"needs observation.images.wrist, task"):
        check_observation({"observation.state": 0}, ("wrist",), None)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nop", "did you mean `noop`"),
        ("replay", "replay:DATASET"),
        ("no_such_module:Policy", "no_such_module"),
    ],
)
def test_unknown_policies_are_named(name, message):
    with pytest.raises(RoboloopError, match=message):
        load_policy(name)


def test_a_folder_without_policy_is_named(tmp_path):
    with pytest.raises(RoboloopError, match="no policy here"):
        load_policy(str(tmp_path))


def test_noop_holds_still():
    cache = make_cache()
    chunk = NoOpPolicy(N_ARM, 0.04).act(make_observation(cache, np.arange(3)))
    assert np.all(chunk[..., :-1] == cache.state[:3, None, :N_ARM])
    assert np.all(chunk[..., -1] == np.float32(0.04))


def test_replay_repeats_the_episode_that_began_alike():
    cache = make_cache()
    policy = ReplayNearestPolicy(cache, execute_steps=8)
    firsts = cache.starts[[2, 0]]
    noisy = make_observation(cache, firsts)
    noisy["observation.state"] = noisy["observation.state"] + np.float32(0.01)
    policy.reset(2)
    chunk = policy.act(noisy)
    np.testing.assert_array_equal(chunk[0, :12], cache.action[24:36])
    np.testing.assert_array_equal(chunk[1, :12], cache.action[:12])
    later = policy.act(make_observation(cache, firsts + 5))
    np.testing.assert_array_equal(later[1, :4], cache.action[8:12])
    np.testing.assert_array_equal(later[1, 4:], np.repeat(cache.action[11:12], 12, 0))


def test_waypoints_are_where_the_gripper_acts_next():
    above = np.array([1, 1, 0, 0, 1, 1, 0, 0, 0], bool)
    frames = waypoint_frames(above, np.ones(9, bool), np.array([0, 6, 9]))
    np.testing.assert_array_equal(frames[:6], [[1, 3], [1, 3], [1, 3], [3, 5], [3, 5], [5, 5]])
    np.testing.assert_array_equal(frames[6:], [[8, 8]] * 3)


def test_a_slip_was_not_foreseen():
    """The hand opens at 4 by mistake, takes the thing again at 6, and lets it go at 8."""
    above = np.array([1, 1, 0, 0, 1, 1, 0, 0, 1, 1], bool)
    imitate = np.arange(10) != 4
    frames = waypoint_frames(above, imitate, np.array([0, 10]))
    np.testing.assert_array_equal(frames[:5], [[1, 7], [1, 7], [1, 7], [7, 9], [7, 9]])
    np.testing.assert_array_equal(frames[5:], [[5, 7], [5, 7], [7, 9], [7, 9], [9, 9]])


def test_shift_moves_pixels_and_repeats_the_border():
    image = np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3)
    moved = shifted(image, np.array([[-1, 2]]))
    np.testing.assert_array_equal(moved[0, 0, 2:], image[0, 1, :2])
    np.testing.assert_array_equal(moved[0, 3, 2:], image[0, 3, :2])
    np.testing.assert_array_equal(shifted(image, np.array([[0, 0]])), image)


def test_a_cell_of_the_features_looks_at_its_centre():
    pixels = torch.zeros(1, 3, 64, 64, requires_grad=True)
    layer = torch.nn.Sequential(conv(3, 1, 4, stride=2), conv(1, 1, 4, stride=2))
    for part in layer:
        torch.nn.init.ones_(part.weight)
    (seen,) = torch.autograd.grad(layer(pixels)[0, 0, 5, 9], pixels)
    centre = seen[0, 0].nonzero().float().mean(0) + 0.5
    torch.testing.assert_close(centre / 32 - 1, grid(16, 16)[5 * 16 + 9])


def test_a_running_policy_counts_as_its_recorded_demonstrations_do():
    rng, starts = np.random.default_rng(0), np.array([0, 50, 90])
    above = np.repeat(rng.integers(0, 2, 18), 5).astype(bool)
    recorded = recorded_recency(above, starts)
    clock, running = Clock(1), []
    for first in range(0, 50, 5):  # five actions of each chunk are carried out
        running.append(clock.recency[0])
        clock.advance(above[None, first : first + 5])
    np.testing.assert_array_equal(running, recorded[:50:5])
    assert recorded[0] == recorded[50] == 0  # nothing was told before
    changed = np.flatnonzero(above[1:50] != above[:49]) + 2
    np.testing.assert_allclose(np.abs(recorded[changed[changed < 50]]), 1 - 1 / RECENT_STEPS)
    assert np.all(np.sign(recorded[changed]) == np.where(above[changed - 1], 1, -1))


WRIST = View("eef", pose.from_parts(np.array([0.05, 0, -0.06]), np.eye(3)), 1.2)


def hands_above(rng: np.random.Generator, n: int) -> np.ndarray:
    """Hands that point down, about."""
    R = pose.rotvec_to_matrix(np.array([np.pi, 0, 0]))
    R = pose.rotvec_to_matrix(rng.normal(0, 0.2, (n, 3))) @ R
    return pose.from_parts(rng.uniform([0.3, -0.2, 0.2], [0.5, 0.2, 0.4], (n, 3)), R)


def test_what_a_camera_on_the_hand_sees_is_where_it_is():
    """Below it by the height that is said, before it by how far away it is said to be."""
    rng = np.random.default_rng(0)
    Ts, places = hands_above(rng, 20), rng.uniform([0.3, -0.2, 0.0], [0.5, 0.2, 0.1], (20, 4, 3))
    level = Ts @ pose.from_parts(np.zeros(3), pose.rotvec_to_matrix(np.array([0, np.pi / 2, 0])))
    before = pose.transform((level @ WRIST.T_parent_camera)[:, None], np.array([[0.01, 0.02, 0.3]]))
    eye = torch.from_numpy(numbers_of(WRIST))
    for Ts_hand, p, off in ((Ts, places, (0, 1)), (level, before.repeat(4, 1), (1, 0))):
        spots, _ = WRIST.project(p, Ts_hand)
        hand = Hand(torch.from_numpy(Ts_hand[:, :3, 3]), torch.from_numpy(Ts_hand[:, :3, :3]))
        z = torch.from_numpy(p[..., 2]) + off[0]
        guess = torch.full_like(z, 0.3) + off[1]
        seen = seen_at(torch.from_numpy(spots), z, guess, eye, hand)
        right = (Ts_hand[:, 2, 2] < -0.8) if off[1] else (np.abs(Ts_hand[:, 2, 2]) < 0.15)
        assert right.sum() > 5
        np.testing.assert_allclose(seen[right], p[right], atol=1e-9)


def test_keypoints_are_where_they_were_before_the_image_was_moved():
    samples = Samples(make_cache(), replace(SMALL, shift_px=3))
    net = Act(samples.config, ("front", "wrist"), (), measure_scaling(samples))
    image, task = torch.rand(1, 3, PX, PX), torch.zeros(1, SMALL.d_model)
    still, there = (
        net.model.cameras["front"](image, task, moved)[1]
        for moved in (None, torch.tensor([[0.25, -0.5]]))
    )
    np.testing.assert_allclose(
        (still - there).detach(), torch.tensor([0.25, -0.5]).expand(1, 4, 2), atol=1e-6
    )
    batch = samples.draw(np.random.default_rng(0), np.arange(4))
    assert np.abs(batch["moved.front"]).max() <= 2 * 3 / PX and batch["moved.front"].any()


def test_places_are_marked_where_the_hand_saw_them():
    """It is where the arm had got to, not where it was told to be."""
    rng, cache = np.random.default_rng(0), make_cache()
    Ts = hands_above(rng, len(cache.state))
    state = cache.state.copy()
    state[:, N_ARM + 1 :] = np.concatenate([Ts[:, :3, 3], Ts[:, :3, 0], Ts[:, :3, 1]], 1)
    eef = cache.action_eef.copy()
    eef[:, :3] = rng.uniform([0.3, -0.2, 0.0], [0.5, 0.2, 0.1], (len(eef), 3))
    samples = Samples(replace(cache, state=state, action_eef=eef, views={"wrist": WRIST}), SMALL)
    frames = np.arange(len(state))
    marks = samples.marks("wrist", frames, np.zeros((len(frames), 2)))
    seen, inside = WRIST.project(eef[samples.waypoints, :3].astype(float), Ts)
    assert inside.mean() > 0.5
    np.testing.assert_allclose(marks[:, :2][inside], seen[inside], atol=1e-4)
    assert np.isnan(marks[:, :2][~inside]).all()


def test_short_approaches_are_drawn_as_often():
    """An episode whose commands are given after two and eight steps of twelve."""
    cache = make_cache()
    step = np.arange(len(cache.action)) % 12
    cache.action[:, -1] = (step < 2) | (step >= 8)
    cache = replace(cache, imitate=np.ones(len(step), bool))
    often = np.bincount(Samples(cache, SMALL).as_often(np.arange(len(step))) % 12)
    assert often.tolist() == [4 * 2] * 3 + [4] * 9


def test_windows_hold_the_last_action_of_an_episode():
    cache = make_cache()
    batch = Samples(cache, SMALL).draw(np.random.default_rng(0), np.array([10]), augment=False)
    np.testing.assert_array_equal(batch["gripper"][0, 0], cache.action[[10, 11, 11, 11], -1])
    arm = cache.action[[10, 11, 11, 11], 0] - cache.state[10, 0]
    np.testing.assert_array_equal(batch["arm"][0, 0, :, 0], arm)
    np.testing.assert_array_equal(batch["state"][0, :, :-1], cache.state[[10, 11]])
    assert not cache.imitate[10]  # nor is what follows to be learnt
    np.testing.assert_array_equal(batch["imitate"][0, 0], np.zeros(4))


def test_errors_of_the_arm_count_more_where_its_hand_acts_soon():
    samples = Samples(make_cache(), SMALL)
    net = Act(SMALL, ("front", "wrist"), (), measure_scaling(samples))
    drawn = samples.draw(np.random.default_rng(0), np.array([0, 1]), augment=False)
    batch = {name: torch.from_numpy(values) for name, values in drawn.items()}
    batch["imitate"] = torch.ones_like(batch["imitate"])
    arm, gripper = net._targets(batch)
    p, _ = hand_in(batch["state"], N_ARM)
    batch["places"] = torch.stack([p, p], 2)
    batch["places"][1] += 1.0  # the second sample's hand is far from where it acts

    def loss(wrong):
        out = arm.clone()
        out[wrong] += 1.0
        net._act = lambda *args: (out, gripper)
        sight = Sight(torch.zeros(2, SMALL.d_model), {}, {}, {}, None, None)
        return net._acting(sight, batch, batch["places"], None)["arm_loss"].item()

    assert loss(0) > 10 * loss(1) > 0


def test_places_are_pointed_at_in_the_frame_of_the_object():
    rng = np.random.default_rng(0)
    turns = pose.rotvec_to_matrix(rng.normal(size=(5, 2, 3)))
    Ts = pose.from_parts(rng.normal(size=(5, 2, 3)), turns)
    p, R = (torch.tensor(part, dtype=torch.float) for part in (Ts[..., :3, 3], Ts[..., :3, :3]))
    things = Things(torch.zeros(5, 2, 15), torch.zeros(5, 2, 9), p, R)
    way = torch.tensor([[[0.1, 0.2, 0.3]]]).expand(5, 1, 3)
    pointing = torch.tensor([-100.0, 0.0]).expand(5, 1, 2)
    wanted = pose.transform(Ts[:, 1], np.array([0.1, 0.2, 0.3]))
    np.testing.assert_allclose(places_at(things, pointing, way)[:, 0], wanted, atol=1e-5)
    axes = torch.eye(3)[:2].expand(5, 1, 1, 2, 3)
    turned = turned_at(things, pointing, axes)[:, 0, 0]
    np.testing.assert_allclose(turned.mT, turns[:, 1, :, :2], atol=1e-5)
    np.testing.assert_allclose(rotations(turned), turns[:, 1], atol=1e-5)


def test_what_is_beside_a_thing_is_seen_from_the_thing():
    rng = np.random.default_rng(0)
    Ts = pose.from_parts(
        rng.normal(size=(2, 3, 3)), pose.rotvec_to_matrix(rng.normal(size=(2, 3, 3)))
    )
    p, R = (torch.tensor(part, dtype=torch.float) for part in (Ts[..., :3, 3], Ts[..., :3, :3]))
    things = Things(torch.zeros(2, 3, 15), torch.zeros(2, 3, 9), p, R)
    wanted = (pose.inverse(Ts)[:, :, None] @ Ts[:, None])[..., :3, 3]
    np.testing.assert_allclose(things.among, wanted, atol=1e-5)


def make_told_net():
    cache = make_cache()
    Ts = np.tile(np.eye(4), (len(cache.state), 2, 1, 1))
    Ts[:, 0, 0, 3] = np.linspace(0, 0.3, len(Ts))  # the other one is furniture
    samples = Samples(replace(cache, images={}, objects=object_numbers(Ts)), SMALL)
    return Act(SMALL, (), (), measure_scaling(samples))


def test_a_policy_is_told_how_it_holds_things_and_nothing_else_of_the_hand():
    net, turns = make_told_net(), pose.rotvec_to_matrix(np.array([[0.3, 0.2, 0.1], [0, 0, 0]]))
    Ts = pose.from_parts(np.array([[0.1, 0, 0], [0.12, 0, 0]]), turns)
    objects = torch.from_numpy(object_numbers(Ts))[None]
    p = pose.transform(Ts[0], np.array([0.01, 0.02, 0.03]))
    hand = Hand(torch.tensor(p[None]).float(), torch.tensor(turns[:1]).float())
    held = net._held(objects, hand, torch.tensor([0.5]))[0]
    np.testing.assert_allclose(held[0], [0.1, 0.2, 0.3, 1, 0, 0, 0, 1, 0], atol=1e-5)
    assert not held[1].any()  # furniture
    assert not net._held(objects, hand, torch.tensor([1.0])).any()  # an open hand
    far = Hand(hand.p_base_eef + 0.5, hand.R_base_eef)
    assert not net._held(objects, far, torch.tensor([0.5])).any()


def test_of_likely_postures_the_nearest_is_taken():
    net = make_told_net()
    ways = torch.tensor([[-1.0], [1.0], [0.1], [3.0]]).expand(4, N_ARM).repeat(1, 2, 1, 1)
    logits = torch.tensor([1.0, 0.9, -3.0, -9.0]).repeat(1, 2, 1)
    net._postures = lambda sight, places: (ways, logits)
    for start, wanted in ((0.5, 1.0), (-0.5, -1.0)):  # not 0.1, which is nearer but unlikely
        q = start * net.posture_std + net.posture_mean
        sight = Sight(torch.zeros(1, SMALL.d_model), {}, {}, {}, None, None)
        chosen, turns = net._posture(sight, torch.zeros(1, 2, 3), q[None], None)
        np.testing.assert_allclose(chosen, np.full((1, 2, N_ARM), wanted), atol=1e-6)
        assert turns is None


def test_the_arm_is_brought_to_where_the_chosen_way_turns_the_hand():
    net, rng = make_told_net(), np.random.default_rng(0)
    logits = torch.tensor([-9.0, 1.0, -9.0, -9.0]).repeat(1, 2, 1)
    net._postures = lambda sight, places: (torch.zeros(1, 2, 4, N_ARM), logits)
    R = pose.rotvec_to_matrix(rng.normal(size=(1, 2, 4, 3))).astype(np.float32)
    axes = torch.from_numpy(R[..., :2].copy()).mT
    sight = Sight(torch.zeros(1, SMALL.d_model), {}, {}, {}, None, axes)

    def chosen(arm):
        postures, turns = net._posture(sight, torch.zeros(1, 2, 3), torch.zeros(1, N_ARM), arm)
        return postures * net.posture_std + net.posture_mean, turns

    before, arm = chosen(None)[0], MovedArm(0.1)
    postures, turns = chosen(arm)
    np.testing.assert_allclose(turns, R[:, :, 1], atol=1e-5)
    np.testing.assert_allclose(torch.cat(arm.asked)[None], turns)
    np.testing.assert_allclose(postures, before + 0.1, atol=1e-5)
    for far in (1.0, float("nan")):  # it is not brought far, nor where the hand cannot get
        np.testing.assert_allclose(chosen(MovedArm(far))[0], before, atol=1e-5)


def test_the_arm_is_brought_to_where_the_second_point_turns_the_hand():
    samples = Samples(make_cache(), SMALL)
    net, arm = Act(SMALL, ("front", "wrist"), (), measure_scaling(samples)), MovedArm(0.0)
    logits = torch.tensor([-9.0, 1.0, -9.0, -9.0]).repeat(1, 2, 1)
    net._postures = lambda sight, places: (torch.zeros(1, 2, 4, N_ARM), logits)
    sight = Sight(torch.zeros(1, SMALL.d_model), {}, {}, {}, None, None)
    places, along = torch.rand(1, 2, 3), torch.tensor([[[0.6, -0.8, 0.0], [0.6, 0.8, 0.0]]])
    for length, wanted in ((TIP, [[-0.6, 0.8, 0], [0.6, 0.8, 0]]), (TIP / 2, [[0, 1, 0]] * 2)):
        arm.asked.clear()
        points = torch.cat([places, places + length * along], 1)
        net._posture(sight, points, torch.zeros(1, N_ARM), arm)
        np.testing.assert_allclose(torch.cat(arm.asked)[..., 1], wanted, atol=1e-5)


def test_hands_are_aligned_the_shortest_way():
    rng = np.random.default_rng(0)
    R = pose.rotvec_to_matrix(rng.normal(size=(50, 3)))
    line = rng.normal(size=(50, 3))
    line *= TIP / np.linalg.norm(line, axis=1, keepdims=True)
    turned = aligned(torch.from_numpy(R), torch.from_numpy(line)).numpy()
    np.testing.assert_allclose(
        turned @ turned.swapaxes(1, 2), np.tile(np.eye(3), (50, 1, 1)), atol=1e-9
    )
    along = (turned[..., 1] * line).sum(1) / TIP
    np.testing.assert_allclose(np.abs(along), 1, atol=1e-9)
    angle = np.arccos(np.abs((R[..., 1] * line).sum(1) / TIP))
    turn = np.arccos((np.trace(turned @ R.swapaxes(1, 2), axis1=1, axis2=2) - 1) / 2)
    np.testing.assert_allclose(turn, angle, atol=1e-6)


def test_a_way_that_the_arm_can_be_brought_to_comes_before_one_that_is_nearer():
    net = make_told_net()
    ways = torch.tensor([0.1, 0.6, 0.0, 0.3])[:, None].expand(1, 2, 4, N_ARM).clone()
    ways = (ways - net.posture_mean) / net.posture_std
    logits = torch.tensor([0.0, 0.0, -9.0, -9.0]).repeat(1, 2, 1)
    net._postures = lambda sight, places: (ways, logits)
    axes = torch.eye(3)[:2].repeat(1, 2, 4, 1, 1)
    sight = Sight(torch.zeros(1, SMALL.d_model), {}, {}, {}, None, axes)
    arm = MovedArm(0.0)
    arm.brought = lambda q, *_: torch.where(q < 0.5, torch.nan, q)
    postures, _ = net._posture(sight, torch.zeros(1, 2, 3), torch.zeros(1, N_ARM), arm)
    standing = postures * net.posture_std + net.posture_mean
    np.testing.assert_allclose(standing, np.full((1, 2, N_ARM), 0.6), atol=1e-5)


def test_an_arm_is_brought_near_where_it_stands_if_it_can_be():
    panda = ROBOTS["panda"]
    q = np.array(panda.home) + [[0.1] * 7, [-0.1] * 7]
    T = forward_kinematics(panda, q + 0.05)
    T[1, 0, 3] += 5.0  # out of reach
    given = [torch.from_numpy(part).float() for part in (q, T[:, :3, 3], T[:, :3, :3])]
    brought = Arm(panda).brought(*given).numpy()
    np.testing.assert_allclose(forward_kinematics(panda, brought[:1])[0], T[0], atol=2e-3)
    assert np.abs(brought[0] - q[0]).max() < 0.3
    assert np.isnan(brought[1]).all()


def test_what_a_waypoint_is_at_is_found_from_many_of_them():
    rng, n_episodes, n = np.random.default_rng(0), 20, 12
    cache = make_cache(n_episodes, n)
    turns = pose.rotvec_to_matrix(rng.normal(size=(n_episodes, 2, 3)))
    Ts = pose.from_parts(rng.normal(0, 0.1, (n_episodes, 2, 3)), turns)
    objects = np.repeat(object_numbers(Ts), n, 0)
    samples = Samples(replace(cache, objects=objects, imitate=np.ones(n_episodes * n, bool)), SMALL)
    pick, last = samples.waypoints[::n].T  # the hand closes once, at the second object
    eef = cache.action_eef.copy()
    eef[pick, :3] = pose.transform(Ts[:, 1], np.array([0.1, 0.0, 0.05]))
    eef[last, :3] = Ts[:, 0, :3, 3] + [0.0, 0.0, 0.1]  # above the first, however it lies
    samples = Samples(replace(samples.cache, action_eef=eef), SMALL)
    before = np.arange(n_episodes * n) <= np.repeat(pick + 1, n)  # the command is given there
    np.testing.assert_array_equal(samples.anchors[before], np.tile([1, 0], (before.sum(), 1)))
    np.testing.assert_array_equal(samples.anchors[~before], 0)


def test_phrasings_are_close_and_order_matters():
    bowl = hash_words("put the bowl on the plate")
    assert bowl @ hash_words("please put bowl on plate.") > 0.99
    assert bowl @ hash_words("put the plate on the bowl") < 0.95
    assert bowl @ hash_words("open the top drawer") < 0.3
    assert np.linalg.norm(hash_words("")) == 0
