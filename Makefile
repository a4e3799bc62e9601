# Each target sets up all it needs: Python 3.11 or newer and make suffice.
PYTHON ?= python3
.PHONY: demo test test-slicer check bench fuzz faults screenshots clean

# A source tree changes under an editable install; only new requirements need a new one.
.venv-demo/ok: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-demo
	.venv-demo/bin/python -m pip install -q -c constraints.txt -e ".[plot]"
	touch $@

.venv/ok: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install -q -c constraints.txt -e ".[dev]"
	touch $@

# Slicer's own MRML, logic and view libraries (slicer-core), in two versions; PySide6 stands in for PythonQt.
.venv-slicer/ok: pyproject.toml constraints.txt Testing/slicer/constraints.txt
	$(PYTHON) -m venv .venv-slicer
	.venv-slicer/bin/python -m pip install -q -c constraints.txt -c Testing/slicer/constraints.txt -e ".[slicer]"
	touch $@

.venv-slicer-older/ok: constraints.txt Testing/slicer/constraints-older.txt
	$(PYTHON) -m venv .venv-slicer-older
	.venv-slicer-older/bin/python -m pip install -q -c constraints.txt -c Testing/slicer/constraints-older.txt \
		slicer-core numpy SimpleITK pydicom pytest
	touch $@

# Makes a synthetic CT, explains it with the model that ships, and says where the pictures are. No torch.
demo: .venv-demo/ok
	.venv-demo/bin/unoise_engine demo -o demo

# Every test.
test: .venv/ok test-slicer
	.venv/bin/python -m pytest -q

# The Slicer module: scene and pictures on two versions of Slicer's libraries, panel and engine process on one.
test-slicer: .venv-slicer/ok .venv-slicer-older/ok
	.venv-slicer/bin/python -m pytest -q Testing/slicer
	.venv-slicer-older/bin/python -m pytest -q Testing/slicer/test_scene.py Testing/slicer/test_pictures.py

# Remakes the icon and the pictures of the Slicer module (Resources/Screenshots), with the model that ships.
screenshots: .venv-slicer/ok
	.venv-slicer/bin/python Testing/slicer/make_pictures.py

# Under a minute: format, lint, types, fast tests.
check: .venv/ok
	.venv/bin/ruff format --check unoise_engine Testing UNoiseSlicer
	.venv/bin/ruff check unoise_engine Testing UNoiseSlicer
	.venv/bin/mypy
	.venv/bin/python -m pytest -q -m "not slow"

# Measures the shipped model on held-out synthetic CTs, and the time of a whole explanation.
bench: .venv/ok
	.venv/bin/python Testing/benchmarks/held_out_phantoms.py
	.venv/bin/python Testing/benchmarks/explain_time.py

# Damages the headers of every input format for as long as this says: no crash, no hang, the good case is still read.
FUZZ_SECONDS ?= 120
fuzz: .venv/ok
	.venv/bin/python -m Testing.fuzz.headers --seconds $(FUZZ_SECONDS)

# Remakes docs/faults.md: what other readers make of planted faults, and what happens here.
.venv-peers/ok: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install -q -c constraints.txt -e ".[peers]"
	touch $@

faults: .venv-peers/ok
	.venv-peers/bin/python -m Testing.benchmarks.fault_table > docs/faults.md.part
	mv docs/faults.md.part docs/faults.md

clean:
	rm -rf .venv .venv-peers .venv-demo .venv-slicer .venv-slicer-older demo dist build
