# Two commands do everything: `make demo` and `make test`. Both set up .venv themselves, once.
PYTHON ?= python3
BIN := .venv/bin
EXTRAS := learn,dashboard,dev
# Passed to pip, such as an index with another build of torch: see the README.
PIP_FLAGS ?=

# Debian packages that tests need beside Python; a machine that has them all is left alone.
SYSTEM_PACKAGES := git python3-venv gcc libc6-dev make mosquitto nginx-light gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf qemu-system-misc chromium

# The figures that need no hour: frames, clock, firmware, links, live gestures, the desk, donning, the live page.
BENCHMARKS := frames clock firmware_core link live live_people desk donning dashboard
# A deployment of real processes on loopback: its course, what it survives and holds off, how many clients it bears.
NETWORK_BENCHMARKS := deployment faults intruders many_clients

.PHONY: demo board-demo test lint bench network full system help

help:  ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /	/'

demo: .venv/installed  ## a federated simulation on synthetic people: no data, no server, under two minutes
	$(BIN)/myofed simulate

board-demo: .venv/installed  ## emulated boards, a broker, recordings, a federation, live gestures (two minutes; `make system` first)
	$(BIN)/python -m simulations.board_demo

test: .venv/installed  ## all tests but the slow ones, a process a core; their summary is the last line
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile -m "not slow and not hardware"

lint: .venv/installed  ## ruff, mypy --strict, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/installed  ## the figures of the README: boards and links, and real recordings with one seed (about 40 minutes on two cores)
	for name in $(BENCHMARKS); do $(BIN)/myofed bench $$name || exit 1; done
	$(BIN)/python benchmarks/real_people.py --seed 0

network: .venv/installed  ## the figures of a federation on a network (long; `make system` first)
	for name in $(NETWORK_BENCHMARKS); do $(BIN)/myofed bench $$name || exit 1; done

full: .venv/installed  ## slow tests too, and all three seeds (more than an hour on two cores)
	$(BIN)/python -m pytest -m "not hardware"
	$(BIN)/python benchmarks/real_people.py

system:  ## Debian packages that the tests need (root or sudo)
	@missing=""; for p in $(SYSTEM_PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || missing="$$missing $$p"; done; \
	if [ -z "$$missing" ]; then echo "system packages are there: $(SYSTEM_PACKAGES)"; else \
	run=$$([ "$$(id -u)" = 0 ] || echo sudo); $$run apt-get update -qq && $$run apt-get install -qq -y --no-install-recommends $$missing; fi

# Installs again only when the pins change.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade-strategy only-if-needed $(PIP_FLAGS) -c constraints.txt -e ".[$(EXTRAS)]"
	touch $@
