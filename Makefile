# Every command worth remembering; bare `make` lists them.

PYTHON      ?= python3
# One tried release of torch. A machine with CUDA gets what this names from the configured package index;
# for the smaller CPU build, name PyTorch's public CPU index: make demo TORCH_INDEX=...
TORCH       ?= torch==2.13.0
TORCH_INDEX ?=

VENV := .venv
BIN  := $(VENV)/bin
PIP  := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
# Small networks are trained by one thread per process; more threads only wait for each other. Tests start a hundred
# Pythons, which a machine may have told to compile every file anew.
ENV  := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= PATH="$(CURDIR)/$(BIN):$$PATH"

.DEFAULT_GOAL := help
.PHONY: test-pythons sbom site wheels performance fuzz audit citation help install demo up test programs editor pictures soak gpu test-gpu check format clean

help: ## List these commands
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.runtime ## Make .venv with the run-time dependencies

demo: $(VENV)/.runtime ## Run the weight-decay preset through the whole service; writes demo/*.png
	@$(ENV) $(BIN)/nfa demo --out demo

up: $(VENV)/.runtime ## Start the service on this machine (SQLite, local Ray); Ctrl-C stops it
	@$(BIN)/nfa up

# Tests that start processes mostly wait; those that ask a store run beside them, and those that only compute take what
# both leave over. They begin beside the checks.
WAITING   := tests/browser tests/faults
COMPUTING := tests/devices tests/nfa_kernels tests/workers $(addprefix tests/service/,datasets grid planning questions)
test: $(VENV)/.test ## Run every check and every test
	@$(ENV) nice $(BIN)/pytest -q --durations=8 $(COMPUTING) >.test.computing.log 2>&1 & computing=$$!; \
	  $(MAKE) --no-print-directory check programs || { kill $$computing; exit 1; }; \
	  $(ENV) $(BIN)/pytest -q --durations=8 $(addprefix --ignore=,$(WAITING) $(COMPUTING)) >.test.asking.log 2>&1 & asking=$$!; \
	  $(ENV) $(BIN)/pytest --durations=8 $(WAITING); failed=$$?; \
	  for lane in $$computing $$asking; do wait $$lane || failed=1; done; \
	  cat .test.computing.log .test.asking.log; exit $$failed

programs: ## Install Chromium, nginx, PgBouncer, openssl and promtool, which tests drive (as root); says what is missing otherwise
	@tests/programs/install.sh

editor: ## Bundle the editor of the submit page into service/web/static/editor.js (needs Node and npm)
	@service/web/editor/build.sh

pictures: $(VENV)/.test programs ## Draw the pictures of README and every kind of figure from real runs
	@$(BIN)/python docs/pictures/make.py

soak: $(VENV)/.test ## Break everything for longer than `make test` does, and uses it while it breaks (NFA_SOAK_MINUTES)
	@NFA_SOAK=1 $(ENV) $(BIN)/pytest tests/faults tests/service/store/test_queue_model.py -q -s --durations=10

gpu: ## On a machine with a CUDA card: hold it against the CPU, time it, write its table into docs/performance.md (< 8 minutes; torch is enough)
	@$(ENV) PYTHONPATH=. $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) benchmarks/gpu.py $(GPU)

test-gpu: $(VENV)/.test ## Hold the kernels on every CUDA device against the CPU; says which devices ran
	@$(ENV) $(BIN)/pytest tests/nfa_kernels/test_devices.py -q -s

test-pythons: ## Run the fast tests on every Python of 3.11 to 3.14 that the machine has, and say which ran (PYTHONS, WITHOUT_TORCH=1)
	@$(ENV) $(PYTHON) tests/programs/pythons.py --torch '$(TORCH)' $(if $(TORCH_INDEX),--index $(TORCH_INDEX)) $(if $(WITHOUT_TORCH),--without-torch) $(PYTHONS)

fuzz: $(VENV)/.test ## Thousands of requests drawn from the OpenAPI document, on both databases: no 5xx, answers as documented
	@$(ENV) NFA_FUZZ_EXAMPLES=$${NFA_FUZZ_EXAMPLES:-150} $(BIN)/pytest tests/service/api/test_fuzz.py -q -s --show-capture=no

audit: $(VENV)/.test ## Known vulnerabilities of the dependencies, and bandit over our own code
	@$(PYTHON) -m venv .audit && .audit/bin/pip install --quiet --disable-pip-version-check pip-audit bandit
	@.audit/bin/bandit --quiet --recursive --severity-level medium service workers nfa_kernels migrations
	@.audit/bin/pip-audit --strict --path $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

performance: $(VENV)/.test ## Run every benchmark (an hour) and rewrite docs with what they print; peers: benchmarks/requirements.txt
	@$(ENV) $(BIN)/python benchmarks/report.py

sbom: $(VENV)/.runtime ## What is installed, with versions and licences, as CycloneDX: dist/sbom.json
	@$(PYTHON) -m venv .audit && .audit/bin/pip install --quiet --disable-pip-version-check cyclonedx-bom
	@mkdir -p dist && .audit/bin/cyclonedx-py environment --pyproject pyproject.toml --output-file dist/sbom.json $(BIN)/python
	@echo "dist/sbom.json: $$(grep -c '"purl"' dist/sbom.json) packages"

wheels: $(VENV)/.test ## Build the wheels of the service and of the kernels alone into dist/
	@rm -rf build nfa_kernels/build
	@$(BIN)/python -m build --no-isolation --outdir dist . && $(BIN)/python -m build --no-isolation --outdir dist nfa_kernels

site: $(VENV)/.test ## Build the documentation into build/site/html; a warning is an error
	@$(ENV) $(BIN)/python docs/site/make_site.py

citation: $(VENV)/.test ## Write CITATION.cff anew, from pyproject.toml, LICENSE, the version and the sources of the method
	@$(ENV) $(BIN)/python docs/site/citation_file.py

check: $(VENV)/.test site ## Lint, types, import contracts, and the documentation site
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/ty check --python $(VENV)
	@$(ENV) $(BIN)/lint-imports

format: $(VENV)/.test ## Format and sort imports
	@$(BIN)/ruff check --fix --quiet . && $(BIN)/ruff format .

clean: ## Remove what the commands above made
	rm -rf $(VENV) .venv-3.* .audit demo .nfa build dist nfa_kernels/build *.egg-info nfa_kernels/*.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) -V). Name another: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: pyproject.toml nfa_kernels/version.py | $(VENV)/bin/python
	@echo "Installing run-time dependencies into $(VENV) .."
	@$(PIP) '$(TORCH)' -e .
	@touch $@

$(VENV)/.test: pyproject.toml nfa_kernels/version.py | $(VENV)/bin/python
	@echo "Installing what the tests need into $(VENV) .."
	@$(PIP) --no-compile '$(TORCH)' -e '.[test,data]'
	@touch $(VENV)/.runtime $@
