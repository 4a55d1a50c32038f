# make demo: the whole job on a fresh machine, from data to an answered query. make test: the tests. make check: format, lint, types.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
DEMO ?= runs/demo
PORT ?= 8500

.PHONY: demo lens lens-server test check format lock clean

.venv: requirements.lock setup.py
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed" if sys.version_info < (3, 11) else 0)'
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(VENV)

demo: .venv
	test -f $(DEMO)/vit/saved_model.pb || $(RUN) -m trainer hub-vit --out $(DEMO)/vit --image-size 64 --patch-size 8 --layers 4 --heads 3 --width 96
	$(RUN) -m trainer run --config configs/demo.yaml --workdir $(DEMO) --set model.hub_vit.handle=$(DEMO)/vit
	$(RUN) -m export --workdir $(DEMO) --out $(DEMO)/exports --keep 2
	$(RUN) -m trainer demo-picture --out $(DEMO)/query.jpg --image-size 64
	$(RUN) -m serving serve $(DEMO)/exports --port $(PORT) & server=$$!; \
	trap 'kill $$server; wait $$server' EXIT; \
	$(RUN) -m serving ready --server localhost:$(PORT) && \
	$(RUN) -m serving search $(DEMO)/query.jpg --server localhost:$(PORT) --k 8 \
	    --show $(DEMO)/answer.png --items $(DEMO)/items.parquet && \
	$(RUN) -m serving search --text "striped green dress" --server localhost:$(PORT) --k 8 \
	    --show $(DEMO)/answer_to_words.png --items $(DEMO)/items.parquet && \
	echo "The Lens page on this demo, two commands: make lens-server, and beside it make lens"

lens-server: .venv
	$(RUN) -m serving serve $(DEMO)/exports --port $(PORT)

lens: .venv
	$(RUN) -m serving web --server localhost:$(PORT) --pictures $(DEMO)/catalogue --items $(DEMO)/items.parquet --title title

test: .venv
	$(RUN) -m pytest -q

check: .venv
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy

format: .venv
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

# Writes requirements.lock anew from the ranges in setup.py; needs uv.
lock:
	uv pip compile setup.py --extra all --universal --python-version 3.11 --generate-hashes --quiet --upgrade --output-file requirements.lock

clean:
	rm -rf $(VENV) runs build *.egg-info
