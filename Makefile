# `make pretrain` runs the main job, `make test` the tests; each makes the environment first where it is missing.

PORT ?= 5000
ARGS ?=
ONLY ?=
PY := .venv/bin/python
READY := .venv/.ready
# VLP_ROOT names the folder of results for `pretrain` and `ui` alike; without it that is runs/.
ROOT := $(abspath $(or $(VLP_ROOT),runs))

export NO_ALBUMENTATIONS_UPDATE ?= 1
export RAY_ENABLE_UV_RUN_RUNTIME_ENV ?= 0
export RAY_USAGE_STATS_ENABLED ?= 0
export MLFLOW_DISABLE_TELEMETRY ?= true
export DO_NOT_TRACK ?= 1

.DEFAULT_GOAL := help
.PHONY: help env pretrain systems test lint format bench-data bench-web ui clean

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

env: $(READY) ## make .venv as constraints.txt pins it

# The stamp holds the folder it was made in: a copied or moved environment points at the wrong code and is made anew.
ifneq ($(shell cat $(READY) 2>/dev/null),$(CURDIR))
.PHONY: $(READY)
endif
$(READY): pyproject.toml constraints.txt
	@sh infra/setup.sh

pretrain: $(READY) ## run the main job (ARGS="--train.steps 500")
	@$(PY) pipelines/pretrain_clip.py $(if $(VLP_ROOT),--root "$(ROOT)") $(ARGS)

systems: $(READY) ## train every system on the embedded corpus and compare them (ONLY=vilt,albef)
	@$(PY) pipelines/systems.py $(if $(ONLY),--only $(ONLY)) $(if $(VLP_ROOT),--root "$(ROOT)") $(ARGS)

test: $(READY) ## run the tests (ARGS="tests/vlp_core -k loader")
	@$(PY) -m pytest $(if $(ARGS),$(ARGS),-n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0)

lint: $(READY) ## check format, style, types and import contracts
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

format: $(READY) ## put the code into its format
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

bench-data: $(READY) ## fetch, shrink and store the same photos as img2dataset does, in turn (ARGS="--quick")
	@$(PY) infra/bench/data.py $(ARGS)

bench-web: $(READY) ## fetch from a played web that is slow, dead and hanging, at what the CPU allows (ARGS="--hosts 1000")
	@$(PY) infra/bench/web.py $(ARGS)

ui: $(READY) ## open the MLflow UI on what has been run (PORT=5000)
	@sh infra/mlflow/ui.sh "$(ROOT)" "$(PORT)"

clean: ## remove caches; results, environment and tools stay
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . \( -name .venv -o -name .tools -o -name runs -o -name .git \) -prune -o -type d -name __pycache__ -exec rm -rf {} +
