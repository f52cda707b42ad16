# The two commands: `make demo` runs the default campaign, `make test` the tests. Both make the environment first.
SHELL := /bin/bash
CAMPAIGN ?= config/config.yaml
CORES ?= $(shell nproc)
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help env slurm browser demo test test-all lint lock schema clean bench-convert bench-training bench-models bench-scaling \
	bench-lost-ranks bench-uncertainty bench-fpga bench-cores bench-distilled bench-faults bench-trigger bench-tracking \
	bench-anomaly bench-weak bench-olympics bench-hunt-null bench-surrogates bench-field bench-gpu bench-scan bench-halving \
	bench-search bench-production bench-cluster

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

env: ## Make the environment in .venv
	@bash envs/bootstrap.sh

slurm: ## Install Debian's packages for slurm/testcluster, a Slurm on this machine
	@slurm/testcluster install

browser: ## Install Debian's Chromium, in which the status page is tested
	@command -v chromium >/dev/null || $$([ "$$(id -u)" = 0 ] || echo sudo -n) \
	  sh -c "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium" >/dev/null

demo: env ## Run the default campaign: simulation to IP core and report
	@$(BIN)/bunchtrain campaign run $(CAMPAIGN) --cores $(CORES)

# What only tests need is installed where that is allowed; without it they are skipped, and say so.
test: env ## Run the tests
	@for tools in slurm browser; do $(MAKE) -s $$tools || echo "[test] tests that need it are skipped: make $$tools"; done
	@$(BIN)/python -m pytest -m "not slow"

test-all: env slurm browser ## Run the tests, the long ones too
	@$(BIN)/python -m pytest

lint: env ## Check style, types and workflow
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/snakefmt --check Snakefile workflow
	@$(BIN)/snakemake --lint

lock: env ## Lock the requirements anew
	@bash envs/lock.sh

schema: env ## Write the JSON schema of campaigns
	@$(BIN)/python -m bunchtrain.config.schema config/schema.json

bench-convert: env ## Measure conversion and reading
	@PYTHONPATH=tests $(BIN)/python benchmarks/bench_convert.py

bench-training: env ## Measure the training
	@PYTHONPATH=tests $(BIN)/python benchmarks/bench_training.py

bench-models: env ## Measure our networks beside weaver-core's
	@PYTHONPATH=tests $(BIN)/python benchmarks/bench_models.py

bench-scaling: env ## Measure how well the scaling is predicted
	@PYTHONPATH=tests $(BIN)/python benchmarks/bench_scaling.py

bench-lost-ranks: env ## Measure how long a lost rank holds up a training
	@PYTHONPATH=tests $(BIN)/python benchmarks/bench_lost_ranks.py

bench-fpga: env ## Measure the synthesis
	@PYTHONPATH=tests $(BIN)/python benchmarks/bench_fpga.py

bench-tracking: env ## Measure graphs of hits, track candidates and the edge network
	@PYTHONPATH=tests $(BIN)/python benchmarks/bench_tracking.py

bench-cores: env ## Take every kind of network through the FPGA chain
	@PYTHONPATH=tests $(BIN)/python benchmarks/bench_cores.py

bench-faults: env ## Count the faults in RTL that the proof finds
	@PYTHONPATH=tests $(BIN)/python benchmarks/bench_faults.py

bench-distilled: env ## Measure what a student keeps of the tagger's uncertainty
	@PYTHONPATH=tests $(BIN)/python benchmarks/bench_distilled.py

bench-trigger: env ## Place and route the anomaly score of a trigger
	@PYTHONPATH=tests $(BIN)/python benchmarks/bench_trigger.py

bench-anomaly: env ## Measure how far hidden signals stand out of jets that were learned without labels
	@PYTHONPATH=tests $(BIN)/python benchmarks/bench_anomaly.py

bench-weak: env ## Measure weak supervision beside full, and what it finds where there is no signal
	@PYTHONPATH=tests $(BIN)/python benchmarks/bench_weak.py

bench-hunt-null: env ## Measure the global p-values of hunts in boxes without a signal
	@PYTHONPATH=tests $(BIN)/python benchmarks/bench_hunt_null.py

bench-surrogates: env ## Measure surrogates of a calorimeter: drawn showers beside true ones, conservation, speed
	@PYTHONPATH=tests $(BIN)/python benchmarks/bench_surrogates.py

bench-field: env ## Measure maps of a magnetic field: a harmonic network beside an unconstrained one and splines
	@PYTHONPATH=tests $(BIN)/python benchmarks/bench_field.py

bench-olympics: env ## Search black boxes blindly, open them, and score what was found
	@PYTHONPATH=tests $(BIN)/python benchmarks/bench_olympics.py

bench-uncertainty: env ## Measure MC dropout: what passes cost, and the memory they take
	@PYTHONPATH=tests $(BIN)/python benchmarks/bench_uncertainty.py

bench-scan: env ## Kill scans, count what is lost; measure slots and suggestions
	@PYTHONPATH=tests $(BIN)/python benchmarks/bench_scan.py

bench-halving: env ## Count the epochs that successive halving spends, and what it keeps
	@PYTHONPATH=tests $(BIN)/python benchmarks/bench_halving.py

bench-search: env ## Compare searches at equal evaluations with Optuna's
	@PYTHONPATH=tests $(BIN)/python benchmarks/bench_search.py

bench-gpu: env ## Measure training on a GPU, or on the CPU where there is none
	@PYTHONPATH=tests $(BIN)/python benchmarks/bench_gpu.py

bench-production: env ## Measure the planning of campaigns of thousands of files
	@PYTHONPATH=tests $(BIN)/python benchmarks/bench_production.py

bench-cluster: env slurm ## Run a campaign of a thousand files through slurm/testcluster
	@PYTHONPATH=tests $(BIN)/python benchmarks/bench_cluster.py

clean: ## Remove the environment and all results
	rm -rf .venv .venv.lock results .snakemake
