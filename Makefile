PYTHON ?= python3
BIN := .venv/bin
CAPTURE ?= examples/captures/kitchen5
TASK ?= put the bowl on the plate
# A worker a core, files whole: what a file's tests share is made once.
CORES := $(shell getconf _NPROCESSORS_ONLN)
PYTEST := $(BIN)/python -m pytest -n $(CORES) --maxprocesses 4 --dist loadfile
# Wheels without CUDA, a tenth of the size; used where this host answers.
TORCH_CPU := https://download.pytorch.org/whl/cpu

.PHONY: install demo test check bench bench-planner bench-generate
.DELETE_ON_ERROR:

install: .venv/robots .venv/compiled  ## a virtual environment with everything, in .venv

.venv/packages: pyproject.toml
	@./tools/install_opengl.sh
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@extra=$$($(PYTHON) -c "from urllib.request import urlopen as u; \
	    u('$(TORCH_CPU)/torch/', timeout=5); print('--extra-index-url $(TORCH_CPU)')" \
	    2>/dev/null || true); \
	    $(BIN)/pip install -qq $$extra 'torch==2.13.*'
	@$(BIN)/pip install -qq -e '.[dev]'
	@touch $@

.venv/robots: .venv/packages src/roboloop/assets.py src/roboloop/lod.py
	@$(BIN)/roboloop assets get panda so101 ur5e iiwa vx300s
	@touch $@

# the benchmark runs all compiled code once; whether it meets its goals is not the question here
.venv/compiled: .venv/packages $(addprefix src/roboloop/,compiled.py kinematics.py chain.py task/tape.py $(addprefix demo/solver/,geometry.py terms.py minimise.py))
	@echo "compiling the planner, once (about a minute)"
	@$(BIN)/python -m benchmarks.planner --seeds 1 --starts 0 >/dev/null || true
	@touch $@

demo: install  ## the main job on a capture that comes with the project
	$(BIN)/roboloop run $(CAPTURE) --task "$(TASK)" --out demo_run

test: install  ## the tests; those marked slow, network or gpu are left out
	$(PYTEST)

check: install  ## what has to pass before a commit
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(PYTEST)

bench: install  ## speed, as ratios measured in one run
	@for file in benchmarks/bench_*.py; do echo "# $$file"; $(BIN)/python $$file || exit 1; done

bench-planner: install  ## ten keypoint problems beside the published planner; the closed loop
	$(BIN)/python -m benchmarks.planner

bench-generate: install  ## cost and success rates of generation beside the published generator
	$(BIN)/python -m benchmarks.generate
	$(BIN)/python -m benchmarks.generation_rates
	$(BIN)/python -m benchmarks.transfer
