"""Rendering of a Panda table scene against MuJoCo's own renderer on the stock meshes.

    python benchmarks/bench_render.py

Software OpenGL, 128 px, front and wrist camera in turns. CPU seconds count all threads.
"""

from time import process_time

import mujoco
import numpy as np
from bench_sim import panda_on_table

from roboloop.render import Renderer
from roboloop.sim import Simulation

PX, N_FRAMES, N_STOCK = 128, 200, 8
CAMERAS = ("front", "robot/wrist")


def bench_ours(model: mujoco.MjModel, state: np.ndarray) -> float:
    """Frames a CPU second."""
    with Renderer(PX, PX) as renderer:
        renderer.frames(model, state[None], CAMERAS)
        start = process_time()
        renderer.frames(model, np.repeat(state[None], N_FRAMES, 0), CAMERAS)
        return len(CAMERAS) * N_FRAMES / (process_time() - start)


def bench_stock(model: mujoco.MjModel, qpos: np.ndarray) -> float:
    """Frames a CPU second of `mujoco.Renderer` at its defaults."""
    data = mujoco.MjData(model)
    data.qpos[:] = qpos
    mujoco.mj_forward(model, data)
    with mujoco.Renderer(model, PX, PX) as renderer:
        renderer.update_scene(data, CAMERAS[0])
        renderer.render()
        start = process_time()
        for _ in range(N_STOCK):
            for camera in CAMERAS:
                mujoco.mj_forward(model, data)
                renderer.update_scene(data, camera)
                renderer.render()
        return len(CAMERAS) * N_STOCK / (process_time() - start)


def main() -> None:
    rates = {}
    for lod in ("low", "full"):
        model, qpos = panda_on_table(lod)
        sim = Simulation([model])
        sim.reset(qpos[None])
        rates[f"ours, {lod} meshes"] = bench_ours(model, sim.states[0])
        rates[f"mujoco.Renderer, {lod} meshes"] = bench_stock(model, qpos)
    for name, rate in rates.items():
        print(f"{name:<32}{rate:>8.1f} frames/s")
    ratio = rates["ours, low meshes"] / rates["mujoco.Renderer, full meshes"]
    print(f"ours on low meshes / mujoco.Renderer on full meshes   {ratio:.0f}")


if __name__ == "__main__":
    main()
