"""`roboloop doctor`: do everything that roboloop needs, once, and say what fails and its remedy."""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path

from roboloop import console
from roboloop.errors import RoboloopError
from roboloop.run import OutputFlags

_BALL = """
<mujoco>
  <worldbody>
    <light pos="0 0 3"/>
    <geom type="plane" size="1 1 0.1" group="2"/>
    <body pos="0 0 0.5">
      <freejoint/>
      <geom type="sphere" size="0.05" rgba="1 0 0 1" group="2"/>
    </body>
    <camera name="front" pos="0 -2 0.6" xyaxes="1 0 0 0 0.2 1"/>
  </worldbody>
</mujoco>
"""
_FREE_GIB = 3
"""Free disk that a run at the default scale needs."""


@dataclass(frozen=True)
class Config(OutputFlags):
    """Try everything that roboloop needs on this machine; exit 2 when something fails."""


@dataclass(frozen=True)
class Check:
    """One thing that has to work: a function that does it and says what it did."""

    name: str
    do: Callable[[], str]
    remedy: str


def run(config: Config) -> None:
    """Do every check, a line each.

    Raises:
        RoboloopError: Some check failed.
    """
    results = {}
    for check in CHECKS:
        start = time.monotonic()
        try:
            text, passed = check.do(), True
        except Exception as error:  # any failure of a check is its result
            text, passed = f"{type(error).__name__}: {error}".splitlines()[0], False
        results[check.name] = {"ok": passed, "text": text}
        took = time.monotonic() - start
        console.say(f"{'OK  ' if passed else 'FAIL'}  {check.name:<9} {text}  ({took:.1f} s)")
        if not passed:
            console.say(f"      {'':<9} remedy: {check.remedy}")
    if config.json:
        console.emit(results)
    failed = [name for name, result in results.items() if not result["ok"]]
    if failed:
        raise RoboloopError(f"{len(failed)} of {len(CHECKS)} checks failed: {', '.join(failed)}")


def check_imports() -> str:
    """Import every dependency."""
    names = ("mujoco", "numpy", "scipy", "torch", "av", "pyarrow", "PIL", "safetensors", "tyro")
    for name in names:
        import_module(name)
    shown = ("mujoco", "numpy", "torch", "av", "pyarrow")
    return ", ".join(f"{name} {metadata.version(name)}" for name in shown)


def check_physics() -> str:
    """Let a ball fall onto the floor, in two simulations at once."""
    import mujoco
    import numpy as np

    from roboloop.sim import Simulation, qpos_of

    model = mujoco.MjModel.from_xml_string(_BALL)
    states = Simulation([model, model], n_threads=2).rollout(np.zeros((2, 40, 0))).states
    heights = qpos_of(model, states[:, -1])[:, 2]
    if not np.allclose(heights, 0.05, atol=0.01):
        raise RuntimeError(f"two balls of 0.05 m radius came to rest at {heights}")
    return "2 simulations of 2 s on 2 threads"


def check_render() -> str:
    """Render one frame and find the ball in it."""
    import mujoco
    import numpy as np

    from roboloop.render import Renderer
    from roboloop.sim import Simulation

    model = mujoco.MjModel.from_xml_string(_BALL)
    with Renderer(64, 64) as renderer:
        frame = renderer.frames(model, Simulation([model]).states, ["front"])["front"][0].astype(
            int
        )
    if not np.any(frame[..., 0] > 2 * frame[..., 1] + 20):
        raise RuntimeError("the picture does not show the ball")
    return f"64 px frame by {'OSMesa' if 'mujoco.osmesa' in sys.modules else 'EGL'}"


def check_video() -> str:
    """Encode a video and read it back."""
    import numpy as np

    from roboloop.data import video

    frames = np.zeros((8, 64, 64, 3), np.uint8)
    frames[4:] = 255
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "test.mp4"
        path.write_bytes(video.encode(frames, 20))
        means = [frame.mean() for frame in video.decode(path)]
    if len(means) != 8 or means[0] > 20 or means[-1] < 235:
        raise RuntimeError(f"wrote 8 frames, read {len(means)} with means {means}")
    return "8 frames written and read"


def check_parquet() -> str:
    """Write a table and read it back."""
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({"index": [0, 1, 2], "action": [[0.0], [0.5], [1.0]]})
    with tempfile.TemporaryDirectory() as folder:
        parquet.write_table(table, Path(folder) / "test.parquet")
        same = parquet.read_table(Path(folder) / "test.parquet").equals(table)
    if not same:
        raise RuntimeError("the table came back changed")
    return "3 rows written and read"


def check_training() -> str:
    """Make one gradient step and see the loss fall."""
    import torch

    generator = torch.Generator().manual_seed(0)
    x, target = torch.randn(2, 32, 8, generator=generator)
    weight = torch.zeros(8, 8, requires_grad=True)
    losses = []
    for _ in range(2):
        loss = ((x @ weight - target) ** 2).mean()
        (gradient,) = torch.autograd.grad(loss, weight)
        weight = (weight - 0.1 * gradient).detach().requires_grad_()
        losses.append(loss.item())
    if not losses[1] < losses[0]:
        raise RuntimeError(f"the loss went from {losses[0]} to {losses[1]}")
    device = "CUDA" if torch.cuda.is_available() else "CPU"
    return f"one step on {torch.get_num_threads()} threads, {device}"


def check_robots() -> str:
    """Load every robot's model from the cache."""
    from roboloop.robot import ROBOTS, robot_spec

    for name in ROBOTS:
        robot_spec(name).compile()
    return ", ".join(ROBOTS)


def check_disk() -> str:
    """Measure the free space in the working directory."""
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    if free < _FREE_GIB:
        raise RuntimeError(f"{free:.1f} GiB free in {Path.cwd()}")
    return f"{free:.0f} GiB free"


CHECKS = (
    Check("imports", check_imports, "make install"),
    Check("physics", check_physics, "pip install 'mujoco==4.0.*'"),
    Check(
        "render",
        check_render,
        "apt-get install libegl1 libgl1-mesa-dri libosmesa6, then set MUJOCO_GL=egl or osmesa",
    ),
    Check("video", check_video, "pip install --force-reinstall av"),
    Check("parquet", check_parquet, "pip install --force-reinstall pyarrow"),
    Check("training", check_training, "pip install 'torch==2.13.*'"),
    Check("robots", check_robots, "roboloop assets get panda so101 ur5e iiwa vx300s"),
    Check("disk", check_disk, f"free {_FREE_GIB} GiB, or work in another folder"),
)
