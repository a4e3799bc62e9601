# Each target sets up all it needs: Python 3.11 or newer and make suffice.
PYTHON ?= python3
.PHONY: demo test check bench clean

# A source tree changes under an editable install; only new requirements need a new one.
.venv-demo/ok: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-demo
	.venv-demo/bin/python -m pip install -q -c constraints.txt -e ".[plot]"
	touch $@

.venv/ok: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install -q -c constraints.txt -e ".[dev]"
	touch $@

# Makes a synthetic CT, explains it with the model that ships, and says where the pictures are. No torch.
demo: .venv-demo/ok
	.venv-demo/bin/unoise_engine demo -o demo

# Every test.
test: .venv/ok
	.venv/bin/python -m pytest -q

# Under a minute: format, lint, types, fast tests.
check: .venv/ok
	.venv/bin/ruff format --check unoise_engine Testing
	.venv/bin/ruff check unoise_engine Testing
	.venv/bin/mypy
	.venv/bin/python -m pytest -q -m "not slow"

# Measures the shipped model on held-out synthetic CTs, and the time of a whole explanation.
bench: .venv/ok
	.venv/bin/python Testing/benchmarks/held_out_phantoms.py
	.venv/bin/python Testing/benchmarks/explain_time.py

clean:
	rm -rf .venv .venv-demo demo dist build
