# Needs python3 (3.11 or newer), a C compiler and make. Everything else comes into .venv; what is
# compiled goes to build/ and, to be used in place, beside its source. Nothing spells the path of this
# folder, which may have spaces in it: paths are relative, or begin with "$$PWD" in quotes.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip install --quiet --disable-pip-version-check
INSTALL := LEDGERCORE_PREBUILT=1 $(PIP) --no-build-isolation --editable
INPUTS := setup.py $(wildcard $(foreach folder,src src/* ledgercore service service/*, \
	$(folder)/*.h $(folder)/*.pxi $(folder)/*.pxd $(folder)/*.pyx))

# An editable install is a hook of the interpreter, which no type checker follows: for them its
# modules are linked into a package of stubs, which none is imported from.
link_stubs = stubs="$$($(RUN) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/ledgercore-stubs"; \
	rm -rf "$$stubs" && mkdir "$$stubs" && ln -s "$$PWD/ledgercore/__init__.py" "$$stubs/__init__.pyi" && \
	ln -s "$$PWD"/ledgercore/*.py "$$PWD"/ledgercore/*.pyi "$$PWD/ledgercore/client" "$$PWD/service" "$$stubs"

# The compiler that Python itself will call, asked for once.
ifeq ($(origin CC),default)
CC = $(eval CC := $$(shell $(PYTHON) -c 'import sysconfig; print(sysconfig.get_config_var("CC"))'))$(CC)
endif

# The tests of the engine alone. test_fuzz.py brings sanitizers of its own, and two in one process do
# not get along; what needs another library that stores tables is no matter of the engine.
CORE = $(filter-out %/test_fuzz.py %/test_tables_of_outcomes.py,$(wildcard tests/ledgercore/test_*.py))

# What waits for disks, processes and threads, or tries thousands of cases, is left to `make test`.
LONG = auditing damage_kinds directory faults file_store hardening history housekeeping journal_check \
	key_memory keys memory mixed_histories model pipeline recovery repairing replay scrubbing \
	snapshots store threads verification workers
QUICK = tests/style $(filter-out $(LONG:%=tests/ledgercore/test_%.py),$(CORE))

# Most tests wait, for servers and disks, so two at a time take little more than half the time. The
# files are given out whole, since a module's tests share a server.
PARALLEL = --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder \
	--benchmark-disable

# These are for setup.py; set for the plain build, they would end in the extension that is served.
unexport LEDGERCORE_DEBUG LEDGERCORE_SANITIZE LEDGERCORE_COVERAGE LEDGERCORE_PREBUILT

# $(call stop,sentence) is what a recipe does when the machine lacks something.
stop = { echo "ledgercore: $(1)." >&2; exit 1; }

help: ## List the commands
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 12

build: $(VENV)/installed ## Make the environment and compile, nothing else
	@:

run: build ## Serve 1000 funded accounts on port 8000, kept in data/
	@$(VENV)/bin/ledgercore serve --demo-accounts 1000 --demo-funds 100000 --data data $(ARGS)

# As root on Debian it installs packages there, and says which, unless APT=no is said.
test: $(VENV)/tools ## Set up what the tests need, Debian packages too, and run them (ARGS="-k name")
	@APT=$(APT) sh tests/setup_debian.sh
	@$(RUN) -m pytest $(PARALLEL) $(ARGS)

check: lint ## Check style, types and the quick tests of the engine, in under a minute
	@$(RUN) -m pytest --quiet -m "not slow" $(PARALLEL) $(QUICK) $(ARGS)

# Earlier runs are in .benchmarks; each is compared with the one before it. The gate compares within a
# run (bench/baseline.json), since two runs on a shared machine can differ by any factor.
bench: $(VENV)/tools ## Measure before and after, print the figures, write build/bench and build/compare
	@$(RUN) -m pytest bench --benchmark-only --benchmark-autosave \
		$(if $(wildcard .benchmarks/*/*.json),--benchmark-compare) \
		--benchmark-histogram=build/bench/histogram $(ARGS)
	@$(RUN) -m bench compare --gate

lint: lint-ruff lint-format lint-mypy lint-cython ## Check style and types

# One by one, as .pre-commit-config.yaml calls them.
lint-ruff: $(VENV)/tools
	@$(RUN) -m ruff check --output-format concise

lint-format: $(VENV)/tools
	@$(RUN) -m ruff format --check

lint-mypy: $(VENV)/tools
	@$(RUN) -m mypy

lint-cython: $(VENV)/tools
	@PATH="$$PWD/$(VENV)/bin:$$PATH" cython-lint ledgercore service

comma := ,

# A variant is built in a folder of its own, with the core tests beside it, so that nothing of
# another build can be imported in its stead: $(call variant,folder,switch).
define variant
@mkdir -p $(1)
@$(2) $(RUN) setup.py --quiet build --build-lib $(1)
@rm -rf $(1)/src $(1)/tests
@cp -R src tests pyproject.toml $(1)
endef
in_variant = cd $(1) && PYTHONPATH="$$PWD"
RUN_THERE = "$$OLDPWD"/$(RUN)

debug: $(VENV)/tools ## Run the core tests with asserts on and every index checked
	$(call variant,build/debug/tree,LEDGERCORE_DEBUG=1)
	@$(call in_variant,build/debug/tree) $(RUN_THERE) -m pytest $(CORE) $(ARGS)

pythons: $(VENV)/tools ## Run the core tests on each other CPython from 3.11 on that is here
	@sh tests/run_pythons.sh tests/system/test_serving.py $(CORE) $(ARGS)

sanitize: sanitize-address sanitize-thread ## Run the core tests under ASan, UBSan and TSan

# A sanitizer watches the bounds of what malloc hands out, hence PYTHONMALLOC; and it reports to
# the file descriptor, where pytest's usual capture would hide it. The first report ends the run,
# since a race in a loop is reported at every turn, for hours. The tests marked slow are left out:
# they do a thousand times what others do once.
runtime = $$($(CC) -print-file-name=$(1))
watched = PYTHONMALLOC=malloc LD_PRELOAD="$(call runtime,$(1))" $(RUN_THERE) -m pytest --capture=sys -m "not slow"

sanitize-address: $(VENV)/tools
	@test -e "$(call runtime,libasan.so)" || $(call stop,$(CC) has no address sanitizer)
	$(call variant,build/address-undefined/tree,LEDGERCORE_SANITIZE=address$(comma)undefined)
	@$(call in_variant,build/address-undefined/tree) ASAN_OPTIONS=detect_leaks=0 \
		$(call watched,libasan.so) $(PARALLEL) $(CORE) $(ARGS)

sanitize-thread: $(VENV)/tools
	@test -e "$(call runtime,libtsan.so)" || $(call stop,$(CC) has no thread sanitizer)
	$(call variant,build/thread/tree,LEDGERCORE_SANITIZE=thread)
	@$(call in_variant,build/thread/tree) TSAN_OPTIONS=halt_on_error=1 \
		$(call watched,libtsan.so) tests/ledgercore/test_threads.py tests/ledgercore/test_workers.py \
			tests/service/admission/test_limits_threads.py $(ARGS)

# Of the tests of the service and the client without two files that send thousands of requests for the
# sake of their bytes, without those that look at times, which counting changes, and without those of
# docs/. Two processes share the work, since a worker of pytest-xdist is killed where it takes long to
# write what it has counted.
UNCOUNTED = access/test_access chaos/test_plan http/test_sanic_http monitoring/test_monitoring \
	access/test_nonce_power profiling/test_thread_sampler
COUNTED = tests/ledgercore/client $(filter-out $(UNCOUNTED:%=tests/service/%.py),\
	$(wildcard tests/service/test_*.py tests/service/*/test_*.py))
count = $(call in_variant,build/coverage/tree) $(RUN_THERE) -m coverage
counted = $(count) run -m pytest --quiet -m "not slow" --benchmark-disable -p no:cacheprovider

coverage: $(VENV)/tools ## Measure which lines of Python, Cython and C the tests reach
	$(call variant,build/coverage/tree,LEDGERCORE_COVERAGE=1)
	@find build/coverage \( -name '*.gcda' -o -name '.coverage*' -o -name failed \) -delete
	@$(MAKE) --no-print-directory --jobs=2 --keep-going --output-sync coverage-core coverage-service \
		|| touch build/coverage/failed
	@$(count) combine --quiet
	@$(count) json --quiet -o ../python.json
	@$(RUN) -m tests.support.native_coverage build/coverage build/coverage/python.json
	@test ! -e build/coverage/failed || $(call stop,a test failed; the figures are those of the others)

coverage-core:
	@$(counted) $(CORE) $(ARGS)

coverage-service:
	@$(counted) $(COUNTED) $(ARGS)

# The sdist is made without compiling, and the wheel from the sdist, as whoever installs it would. What
# making it leaves here would name its version for ever. The same script tries wheels made elsewhere.
wheel: $(VENV)/tools ## Build sdist and wheel into dist/, and try the wheel in an empty environment
	@rm -rf dist build/wheel
	@LEDGERCORE_PREBUILT=1 $(RUN) -m build --sdist --outdir dist >/dev/null
	@rm -rf *.egg-info
	@$(RUN) -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist dist/*.tar.gz
	@mkdir -p build/wheel/empty
	@$(RUN) -m venv build/wheel/venv
	@build/wheel/venv/bin/python -m pip install --quiet --disable-pip-version-check dist/*.whl
	@cd build/wheel/empty && ../venv/bin/python "$$OLDPWD"/tests/system/smoke.py
	@ls dist

clean: ## Remove what the other commands made, but no data
	rm -rf build dist $(VENV) *.egg-info ledgercore/*.so service/*/*.so .hypothesis .benchmarks .*_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# The stamps. Each stands for one step, and is older than its inputs when the step is due.
$(VENV)/environment: pyproject.toml
	@command -v $(PYTHON) >/dev/null || $(call stop,there is no $(PYTHON); install Python 3.11 or newer)
	@$(PYTHON) -c 'import sys; sys.exit(sys.hexversion < 0x030b0000)' \
		|| $(call stop,$(PYTHON) is older than 3.11; try make PYTHON=python3.12)
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
		|| $(call stop,$(PYTHON) has no venv module; on Debian install python3-venv)
	@echo "making $(VENV): with all that follows it takes two to four minutes, this once"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --upgrade setuptools cython
	@touch $@

# Cython does not see that setup.py, where its directives are, has changed.
$(VENV)/compiled: $(INPUTS) $(VENV)/environment
	@command -v $(firstword $(CC)) >/dev/null \
		|| $(call stop,there is no C compiler ($(CC)); on Debian install gcc)
	@echo '#include <Python.h>' | $(CC) -E "$$($(RUN) -c 'import sysconfig; \
		print("-I" + sysconfig.get_path("include"))')" -x c - >/dev/null 2>&1 \
		|| $(call stop,$(CC) cannot compile against Python.h; on Debian install libc6-dev and python3-dev)
	@echo "compiling the engine"
	@$(if $(filter setup.py,$?),rm -rf build/release)
	@$(RUN) setup.py --quiet build_ext --inplace
	@touch $@

$(VENV)/installed: pyproject.toml | $(VENV)/compiled
	@echo "installing what the service needs"
	@$(INSTALL) '.[otlp,profiles]'
	@$(link_stubs)
	@touch $@

$(VENV)/tools: pyproject.toml | $(VENV)/installed
	@echo "installing the tools for development"
	@$(INSTALL) '.[arrow,otlp,profiles,test,bench,peers,lint]'
	@touch $@

.PHONY: help build run test check bench lint lint-ruff lint-format lint-mypy lint-cython debug pythons \
	sanitize sanitize-address sanitize-thread coverage coverage-core coverage-service \
	wheel clean
