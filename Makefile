PYTHON ?= python3
BIN := .venv/bin
SPEECH ?= ../shared/speech

.PHONY: demo test lint chaos fuzz bench bench-watermark bench-higgs bench-safety clean
.DELETE_ON_ERROR:

demo: .venv/core ## dub the demo title into six languages
	test -f demo-output.key || $(BIN)/dub keys new demo-output.key
	$(BIN)/dub run configs/demo.yaml
	$(BIN)/dub detect --keys demo-output.key --output demo-output demo-output/*/*/dub.flac

test: lint ## everything that must hold
	$(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

chaos: .venv/test ## kill a job at 20 random moments and compare what it leaves
	KILLS=20 LINES=150 $(BIN)/python -m pytest tests/test_chaos.py -s

fuzz: .venv/test ## 5,000 mutations of each script format
	FUZZ=5000 $(BIN)/python -m pytest tests/readers/test_mutations.py

bench: .venv/test ## the figures of docs/benchmarks.md
	$(BIN)/python benchmarks/run.py

bench-watermark: .venv/bench ## the figures of the watermark, with the real speech of SPEECH=folder
	$(BIN)/python benchmarks/watermark.py --speech $(SPEECH)

bench-higgs: .venv/test ## the figures of the Higgs engine: on the GPU, or scaled down on the CPU
	$(BIN)/python benchmarks/higgs.py

bench-safety: .venv/test ## the figures of the safeguards, with the real speech of SPEECH=folder
	$(BIN)/python benchmarks/safety.py --speech $(SPEECH)

.venv/core: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

.venv/test: .venv/core
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,gpu]'
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps resemblyzer
	@touch $@

.venv/bench: .venv/core
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@touch $@

clean:
	rm -rf .venv build demo-output demo-output.key bench-output *.egg-info
