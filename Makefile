.DEFAULT_GOAL := help
PYTHON ?= python3.11
RUN := .venv/bin

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: .venv/installed  ## make .venv with the package and every extra (done once)

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(RUN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all,dev]'
	@touch $@

report: setup  ## predict, measure and compare studies/initialization.toml -> out/report/index.html
	$(RUN)/rmt report studies/initialization.toml --out out/report --yes

activations: setup  ## every scheme and activation, critical and not -> out/activations/index.html (six minutes)
	$(RUN)/rmt report studies/activations.toml --out out/activations --yes

phase: setup  ## the phase diagram of tanh networks, measured -> out/phase/index.html (two minutes)
	$(RUN)/rmt report studies/phase.toml --out out/phase --yes

residual: setup  ## residual branches against depth, with and without norm -> out/residual/index.html (five minutes)
	$(RUN)/rmt report studies/residual.toml --out out/residual --yes

figures: setup  ## every figure of Bjorck et al. 2018 and of the gallery -> out/figures
	$(RUN)/rmt figures all --out out/figures

study: setup  ## Bjorck et al. 2018 remade and explained, one page -> out/figures/index.html
	$(RUN)/rmt report studies/bjorck2018.toml --out out/figures --yes

test: setup  ## run the tests (two at a time)
	$(RUN)/python -m pytest -n 2

lint: setup  ## ruff and mypy
	$(RUN)/ruff check .
	$(RUN)/mypy

bench: setup  ## speed, against limits and other packages -> docs/benchmarks.md
	$(RUN)/python -m benchmarks.run

bench-gpu: setup  ## networks per second on a CUDA device -> docs/benchmarks-gpu.md
	$(RUN)/python -m benchmarks.gpu

accuracy: setup  ## errors of every law against 50 digits -> docs/accuracy.md
	$(RUN)/python -m benchmarks.accuracy

calibration: setup  ## false alarms and power of compare, simulated -> docs/calibration.md
	$(RUN)/python -m benchmarks.calibration

sweep: setup  ## 2000 random expressions of laws, judged by other rules -> docs/sweep.md
	$(RUN)/python -m benchmarks.sweep --out docs/sweep.md

studies: setup  ## compare on networks drawn by other code, honest and tampered with -> docs/studies.md
	$(RUN)/python -m benchmarks.studies

.PHONY: help setup report activations phase residual figures study test lint bench accuracy calibration sweep studies
