# Each target makes .venv where it is missing or out of date, and reuses it otherwise.
#   make demo | screenshots | chaos | fuzz | test | test-slow | test-up | test-kafka | test-faults | lint | docs | bench | bench-e2e | bench-growth | bench-learning | lock | audit | sbom | dist | clean
# Variables:
#   PYTHON=python3.12      the Python to make .venv with: 3.11 or 3.12
#   TORCH_INDEX=https://...  the package index to take torch from, such as PyTorch's for CPUs
#   AGAINST=<commit>         `make bench` measures this checkout and that commit in turns, and prints ratios
#   E2E="--events 6000 --turns 1"  what `make bench-e2e` measures; `E2E=--help` lists ways, rates and sizes
#   N=1000000 SEED=0         how many messages `make fuzz` makes, and which
#   KAFKA_HOME=...           a folder whose libs/ holds Apache Kafka: the tests, the demo and the chaos run on it
#   JOBS=2                   how many processes `make test` spreads over
#   SLOW="killed or demo"    which of the slow tests, by their names
#   KILLS=20                 how often `make chaos` kills

FIND_PYTHON = for name in python3.11 python3.12 python3; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null \
	&& { echo "$$name"; break; }; done
PYTHON ?= $(shell $(FIND_PYTHON))
TORCH_INDEX ?=
JOBS ?= 2
KILLS ?= 20
N ?= 1000000
SEED ?= 0
E2E ?=
SLOW ?=

BIN := .venv/bin
READY := .venv/.installed
TORCH := $(shell grep '^torch==' constraints.txt)

AUDIT := .venv/audit
AUDIT_READY := $(AUDIT)/.installed

.PHONY: demo screenshots chaos fuzz kernels test test-slow test-up test-kafka test-faults lint docs bench bench-e2e bench-growth bench-learning lock audit sbom dist clean

demo: $(READY)
	$(BIN)/eddy demo

screenshots: $(READY)
	$(BIN)/python -m tests.browser.screenshots

chaos: $(READY)
	$(BIN)/eddy chaos --kills $(KILLS)

kernels: $(READY)
	@$(BIN)/python -m tests.kernels

test: kernels
	$(BIN)/pytest -m "not (slow or faults or up)" -n $(JOBS) --dist loadfile
	@echo "Not run: the tests that take long, such as killing flows at random moments. They are: make test-slow"

test-up: $(READY)
	$(BIN)/pytest -m up -rs

test-slow: kernels
	$(BIN)/pytest -m "slow and not (faults or up)" $(if $(SLOW),-k "$(SLOW)")

test-kafka: $(READY)
	$(BIN)/pytest tests/kafka -v

test-faults: $(READY)
	$(BIN)/pytest -m faults -rs

fuzz: $(READY)
	$(BIN)/python -m tests.fuzz --n $(N) --seed $(SEED)

bench: $(READY)
	$(BIN)/python -m $(if $(AGAINST),tests.benchmarks.against $(AGAINST),tests.benchmarks.flow)

bench-e2e: $(READY)
	$(BIN)/python -m tests.benchmarks.e2e $(E2E)

bench-growth: $(READY)
	$(BIN)/python -m tests.benchmarks.growth

bench-learning: $(READY)
	$(BIN)/python -m tests.benchmarks.learning

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The documentation as a site; a link that leads nowhere, or a section that is gone, fails it. Signatures are laid out by ruff.
docs: $(READY)
	PATH="$(CURDIR)/$(BIN):$$PATH" NO_MKDOCS_2_WARNING=1 \
		$(BIN)/mkdocs build --strict --quiet --config-file deploy/docs/mkdocs.yml
	@echo "build/site/index.html"

# Known weaknesses of what is installed, which a service on the network knows, and licences, which the packages say.
audit: $(READY) $(AUDIT_READY)
	$(BIN)/python deploy/licences.py
	$(BIN)/python deploy/weaknesses.py $(AUDIT)/bin/pip-audit

# The sdist and the wheel; the wheel is installed in an empty environment and has to answer a slate there.
dist: $(READY)
	@rm -rf dist && mkdir dist
	$(BIN)/python deploy/dist.py dist

# What the image has, as CycloneDX. PyTorch is added by its version: its files depend on the index.
sbom: $(AUDIT_READY) requirements.lock
	@mkdir -p build
	{ cat requirements.lock; echo "$(TORCH)"; } | $(AUDIT)/bin/cyclonedx-py requirements - \
		--pyproject pyproject.toml --output-reproducible --output-format JSON --output-file build/sbom.json
	@echo "build/sbom.json"

# The hashes that the index names now, for the versions of constraints.txt: do it whenever these change.
lock: $(READY)
	$(BIN)/python deploy/lock.py

$(AUDIT_READY): deploy/audit.txt
	"$(PYTHON)" -m venv $(AUDIT)
	$(AUDIT)/bin/pip install --quiet -r deploy/audit.txt
	@touch $@

$(READY): pyproject.toml constraints.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null || { \
		echo "Eddy needs Python 3.11 or 3.12, and $(if $(PYTHON),$(PYTHON) is neither,none is on the PATH): install one, or name it: make PYTHON=/path/to/python3.12" >&2; \
		exit 1; }
	"$(PYTHON)" -m venv .venv
	$(if $(TORCH_INDEX),$(BIN)/pip install --quiet --no-deps --index-url "$(TORCH_INDEX)" "$(TORCH)")
	$(BIN)/pip install --quiet --no-compile -c constraints.txt -e '.[dev]' # what is imported is compiled then
	@touch $@

clean:
	rm -rf .venv .eddy build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
