#!/usr/bin/env bash
# Make a virtual environment with LeRobot 0.4.4 (the newest for Python 3.11) at FOLDER: what the
# slow test and the benchmark of datasets compare with. Its pins never meet ours. The whole of
# LeRobot takes 6 GB with CUDA; this takes 2 GB, with what reading and writing datasets imports.
set -euo pipefail
folder=${1:?usage: tools/lerobot_venv.sh FOLDER}
[ -x "$folder/bin/python" ] || python3 -m venv "$folder"
pip=("$folder/bin/pip" install -q)
"${pip[@]}" "torch==2.13.*"
"${pip[@]}" --no-deps "torchvision==0.25.*" "lerobot==0.4.4"  # 0.26 has no VideoReader
"${pip[@]}" "numpy<2.4" "datasets>=4,<5" "huggingface_hub>=0.34.2,<0.36" "av>=15,<16" \
    "packaging<26" "accelerate<2" "draccus==0.10.0" "einops<0.9" "jsonlines<5" "deepdiff<9" \
    "imageio[ffmpeg]<3" "termcolor<4" pillow
echo "$folder/bin/python"
