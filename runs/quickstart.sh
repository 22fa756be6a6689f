#!/usr/bin/env bash
# Every stage of the loop, one by one: what `roboloop run` does in one command.
#   runs/quickstart.sh [CAPTURE] [SENTENCE] [OUT]        SCALE=tiny|small|full
set -euo pipefail

capture=${1:-examples/captures/kitchen5}
sentence=${2:-put the bowl on the plate}
out=${3:-runs/out/quickstart}
scale=${SCALE:-small}
if [ -d .venv ]; then PATH="$PWD/.venv/bin:$PATH"; fi

# The capture becomes a scene in simulation, and cousins of it: some to learn from, some held out.
roboloop scene "$capture" --out "$out/scene" --scale "$scale"
# The sentence becomes a task: who plays which part, what holds after each stage, what counts as done.
roboloop task "$out/scene/twin" "$sentence" --out "$out/task" --scale "$scale"
# A planner does the task in a few cousins, in physics.
roboloop demo "$out/scene" "$out/task" --out "$out/demo" --scale "$scale"
# Those demonstrations are carried over to many cousins; what succeeds is rendered and kept.
roboloop generate "$out/demo" "$out/scene" "$out/task" --out "$out/generate" --scale "$scale" \
    --failures
# A page says what was kept, what failed and why; a sheet and a film show episodes.
roboloop report "$out/generate"
roboloop show "$out/generate" --n 4
# The dataset is whole: every frame decodes, every episode replays. A policy learns from its images.
roboloop data check "$out/generate" --decode --replay
roboloop train "$out/generate" --out "$out/train" --scale "$scale"
# The policy acts in cousins that nobody has seen, beside the planner and a policy that does nothing.
roboloop evaluate "$out/train" "$out/scene" "$out/task" --out "$out/evaluate" --scale "$scale" \
    --references planner noop "replay:$out/generate"
# One page shows it all.
roboloop report "$out"
