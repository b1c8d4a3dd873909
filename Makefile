# Thin: every target is one command a person could type. See README.md.
JOBS ?= 2
export PATH := $(CURDIR)/build/tools/bin:$(PATH)

.PHONY: demo build test test-long serve docs bench bench-serve fuzz soak lint format clean bootstrap model model-floor model-eval nvcc

bootstrap:
	@deploy/bootstrap.sh

build:
	@deploy/bootstrap.sh --build
	@cmake --preset release >/dev/null
	@cmake --build build/release -j $(JOBS) --target pithd pith

demo: build
	@deploy/demo.sh

serve: build
	@build/release/pithd

test: bootstrap
	@tests/run.sh

test-long: bootstrap
	@tests/run.sh --long

nvcc:
	@python3 tests/nvcc/gate.py

# A server under mixed load for MINUTES: what it holds afterwards is what it held before. The page goes to
# build/soak.md; commit it as bench/results/MACHINE-DATE-soak.md when it is to be cited
soak: build
	@bash -o pipefail -c '/usr/bin/python3 tests/soak/soak.py --minutes $(or $(MINUTES),30) | tee build/soak.md'

lint:
	@tests/lint/run.sh

fuzz: bootstrap
	@tests/fuzz/run.sh 60

bench: build
	@bench/run.sh

# The engine's floor and the engine itself for the model's recipe: build/release/libpith_recipe.so
model-floor:
	@deploy/bootstrap.sh --build
	@cmake --preset release >/dev/null
	@cmake --build build/release -j $(JOBS) --target pith_recipe

# The server under load, beside the engine alone and peers
bench-serve: build
	@bench/run.sh serve

docs: build
	@build/release/pithd --help=markdown >docs/options.md

# The model that ships, made again from the text of this machine: hours; goes on where it stopped
model: model-floor
	@[ -n "$(PYTHON)" ] || deploy/bootstrap.sh --model
	@models/recipe/run.sh

# Figures, judge and card of the model that ships; see models/recipe/eval.sh for what it wants
model-eval: model-floor
	@[ -n "$(PYTHON)" ] || deploy/bootstrap.sh --model
	@models/recipe/eval.sh

format:
	@clang-format -i $$(git ls-files '*.c' '*.h' '*.cu' '*.cuh')

clean:
	@rm -rf build
