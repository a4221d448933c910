# Every target is a thin wrapper around the command line: `make quantize RECIPE=int8` is `mezzotint quantize --recipe int8`.
# MODEL, BUNDLE, OUT, RECIPE, TARGET, PROMPT and PROMPTS are its arguments and options; ARGS has all others.

PYTHON := python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.installed

# Not ?=: a TARGET or OUT that happens to be in the environment means something else. The command line overrides these all the same.
MODEL   = demo/checkpoint
BUNDLE  = bundles/demo-fp32
BUNDLES = $(sort $(wildcard bundles/demo-*))
RECIPE  = int8
TARGET  = auto
PROMPT  = a flat emoji of a red apple on a blue background
PROMPTS = # a file; without it quantize takes the package's own, and benchmark the demo's
RESULTS = reports/demo/results.json
SD15    = bundles/sd15/checkpoint
PEER_ENVS = $(VENV)/peers
ARGS    = # further options, such as ARGS="--overwrite"

# A folder that is called checkpoint is named after the one that it lies in: demo/checkpoint is "demo".
MODEL_NAME := $(notdir $(patsubst %/,%,$(if $(filter checkpoint,$(notdir $(MODEL:/=))),$(dir $(MODEL:/=)),$(MODEL:/=))))
# Of what is installed a good third is ever imported. Python compiles that when it first is, and has to keep it: hundreds of tests
# start a process of their own.
export PYTHONDONTWRITEBYTECODE =
export PROMPT # recipes read it from the environment, so that quotes in a prompt stay the prompt's

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help env demo train-demo train-adapters export quantize generate serve benchmark doctor report gpu gpu-driver gpu-prepare gate gate-fidelity peers bench-demo bench-vae bench-int4 bench-tensorrt bench-adapters bench-sd15 tables test test-embedded test-slow test-browser test-latest lint types check clean

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

env: $(READY) ## Set up .venv with the pinned development environment

demo: $(READY) ## Take the embedded checkpoint through the whole chain; write reports/demo
	$(BIN)/python -m demo.run

# Threads that wait must sleep: spinning, they slow down a training tenfold on cores that others use as well.
train-demo: $(READY) ## Train such a checkpoint as demo/checkpoint from nothing; hours, in training/; goes on where it was killed
	OMP_WAIT_POLICY=passive $(BIN)/python -m demo.train

train-adapters: $(READY) ## Train such adapters as demo/adapters has for the embedded checkpoint; in training/adapters/; goes on where it was killed
	OMP_WAIT_POLICY=passive $(BIN)/python -m demo.train.adapters lcm
	OMP_WAIT_POLICY=passive $(BIN)/python -m demo.train.adapters style

export: OUT = bundles/$(MODEL_NAME)-fp32
export: $(READY) ## Export a checkpoint: MODEL=folder-or-hub-id OUT=bundle
	$(BIN)/python -m mezzotint export "$(MODEL)" -o "$(OUT)" $(ARGS)

quantize: OUT = $(patsubst %-fp32,%,$(BUNDLE:/=))-$(RECIPE)$(patsubst %,-%,$(filter-out auto,$(TARGET)))
quantize: $(READY) ## Quantize a bundle: BUNDLE=bundle OUT=bundle RECIPE=int8 TARGET=auto PROMPTS=file
	$(BIN)/python -m mezzotint quantize "$(BUNDLE)" -o "$(OUT)" --recipe "$(RECIPE)" --target "$(TARGET)" \
	  $(if $(PROMPTS),--prompts "$(PROMPTS)") $(ARGS)

generate: OUT = reports/generated.png
generate: $(READY) ## Generate an image: BUNDLE=bundle PROMPT="a prompt" OUT=image.png
	@mkdir -p "$(dir $(OUT))"
	$(BIN)/python -m mezzotint generate "$(BUNDLE)" "$$PROMPT" -o "$(OUT)" $(ARGS)

serve: $(READY) ## Serve BUNDLES="bundle bundle" at http://127.0.0.1:7860: a page, and the APIs that clients speak
	$(BIN)/python -m mezzotint serve $(BUNDLES) $(ARGS) \
	  $(if $(filter bundles/demo-int8-openvino,$(BUNDLES)),--default-model demo-int8-openvino)

benchmark: OUT = reports/$(MODEL_NAME)
benchmark: PROMPTS = demo/prompts/evaluation.txt
benchmark: $(READY) ## Compare bundles with PyTorch: MODEL=checkpoint BUNDLES="bundle bundle" OUT=folder PROMPTS=file
	$(BIN)/python -m mezzotint benchmark "$(MODEL)" $(BUNDLES) -o "$(OUT)" --prompts "$(PROMPTS)" $(ARGS)

doctor: $(READY) ## Show which engines, CPU features and packages this machine has
	$(BIN)/python -m mezzotint doctor $(ARGS)

report: $(READY) ## Write report.md and report.html again from raw results: RESULTS=results.json
	$(BIN)/python -m mezzotint report "$(RESULTS)" $(ARGS)

# An environment of its own: onnxruntime-gpu and the CPU build own one import name. `make gpu GPU_PYTHON=python3` takes an
# environment that is there, with whatever engines it has, and fetches nothing. Ordinary TensorRT comes from NVIDIA's index.
GPU_VENV   := $(VENV)/gpu
GPU_PYTHON  = $(GPU_VENV)/bin/python
GPU_PACKAGES := .[cuda,tensorrt-rtx,export,quantize,optimum,benchmark]

gpu: $(if $(filter file,$(origin GPU_PYTHON)),gpu-driver $(GPU_VENV)/.installed) ## On a machine with an NVIDIA GPU: test and measure, in stages; goes on where it was ended; ARGS="--minutes 14"
	$(GPU_PYTHON) -m demo.gpu $(ARGS)

# Before gigabytes are fetched for a GPU that is not there. Exit code 2 is said of the driver alone, not of a Python that fails.
gpu-driver:
	@$(PYTHON) -c 'from mezzotint.engines.nvidia import has_nvidia_driver as found; raise SystemExit(0 if found() else 2)' || \
	  { code=$$?; [ $$code != 2 ] || echo "mezzotint: this machine has no NVIDIA driver; \`make gpu-prepare\` does what needs none" >&2; \
	    exit $$code; }

gpu-prepare: $(if $(filter file,$(origin GPU_PYTHON)),$(GPU_VENV)/.installed) ## What of `make gpu` needs no GPU: exports, calibration, engines
	$(GPU_PYTHON) -m demo.gpu --prepare $(ARGS)

$(GPU_VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(GPU_VENV)
	$(GPU_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '$(GPU_PACKAGES)' pytest
	$(GPU_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[tensorrt]' \
	  >$(GPU_VENV)/tensorrt.log 2>&1 || echo "Ordinary TensorRT could not be installed ($(GPU_VENV)/tensorrt.log says why):" \
	  "TensorRT-RTX, which does not know data centre GPUs, runs alone." >&2
	@touch $@

# The bundles of `make demo`, by name: whatever else lies in bundles/ is not held to the gate.
DEMO_BUNDLES := $(addprefix bundles/demo-,fp32 fp16-openvino fp16-onnxruntime int8-openvino int8-onnxruntime)
DEMO         := demo/checkpoint $(DEMO_BUNDLES) --prompts demo/prompts/evaluation.txt

# Fidelity needs no quiet machine, and three prompts show what is broken. The tests hold FP32 and FP16 to their floors.
GATED := $(addprefix bundles/demo-,int8-openvino int8-onnxruntime)

gate-fidelity: $(READY) ## `make gate` of the INT8 bundles without times, on three prompts; makes the bundles first
	$(BIN)/python -m demo.run $(GATED)
	$(BIN)/python -m mezzotint benchmark demo/checkpoint $(GATED) --prompts demo/prompts/evaluation.txt \
	  -o reports/gate-fidelity --limit 3 --no-speed --no-bf16 --no-other-seed --gate benchmarks/assets/gate.toml $(ARGS)

gate: $(READY) ## Fail where the bundles of `make demo` break benchmarks/assets/gate.toml
	$(BIN)/python -m mezzotint benchmark $(DEMO) -o reports/gate --limit 8 --rounds 2 --no-bf16 \
	  --gate benchmarks/assets/gate.toml $(ARGS)

peers: OUT = bundles/peers/$(MODEL_NAME)
peers: PROMPTS = demo/prompts/calibration.txt
peers: $(READY) ## Install and export what other people have, for MODEL and BUNDLE; gigabytes
	$(BIN)/python -m mezzotint dev peers "$(MODEL)" "$(BUNDLE)" -o "$(OUT)" --environments "$(PEER_ENVS)" \
	  --prompts "$(PROMPTS)" $(ARGS)

bench-demo: $(READY) ## Measure all cases on the embedded checkpoint; after `make peers`, others' exports too
	$(BIN)/python -m demo.run $(DEMO_BUNDLES)
	$(BIN)/python -m mezzotint benchmark $(DEMO) -o reports/bench-demo --limit 16 --rounds 2 --backends onnxruntime,openvino \
	  --attribution $(if $(wildcard bundles/peers/demo),--peers bundles/peers/demo) $(ARGS)

# What another VAE costs: the small one of demo/taesd in FP32, with its decoder in INT8, and beside an INT8 UNet, where
# the checkpoint's own is put back too, which must cost nothing.
VAE_BUNDLES := $(addprefix bundles/vae-,taesd-fp32 taesd-int8-decoder taesd-int8-unet own-int8-unet)

# The embedded checkpoint in the shape of Stable Diffusion XL, whose images are the same.
XL_STYLE := bundles/xl-style

bench-vae: $(READY) ## Measure the fidelity of the embedded checkpoint with another VAE, and in XL's shape; makes the bundles
	$(BIN)/python -m demo.run bundles/demo-fp32 bundles/demo-int8-openvino
	$(BIN)/python -m mezzotint swap-vae bundles/demo-fp32 demo/taesd -o bundles/vae-taesd-fp32 --overwrite
	$(BIN)/python -m mezzotint quantize bundles/vae-taesd-fp32 -o bundles/vae-taesd-int8-decoder --overwrite \
	  --recipe fp16 --target openvino --set vae_decoder=int8 --prompts demo/prompts/calibration.txt
	$(BIN)/python -m mezzotint swap-vae bundles/demo-int8-openvino demo/taesd -o bundles/vae-taesd-int8-unet --overwrite
	$(BIN)/python -m mezzotint swap-vae bundles/demo-int8-openvino demo/checkpoint -o bundles/vae-own-int8-unet --overwrite
	$(BIN)/python -m mezzotint benchmark demo/checkpoint bundles/demo-fp32 bundles/demo-int8-openvino $(VAE_BUNDLES) \
	  --prompts demo/prompts/evaluation.txt -o reports/bench-vae --limit 16 --no-speed --no-bf16 $(ARGS)
	$(BIN)/python -m demo.sdxl_style -o $(XL_STYLE)/checkpoint --overwrite
	$(BIN)/python -m mezzotint export $(XL_STYLE)/checkpoint -o $(XL_STYLE)-fp32 --overwrite
	$(BIN)/python -m mezzotint quantize $(XL_STYLE)-fp32 -o $(XL_STYLE)-int8-openvino --overwrite \
	  --recipe int8 --target openvino --prompts demo/prompts/calibration.txt
	$(BIN)/python -m mezzotint benchmark $(XL_STYLE)/checkpoint $(XL_STYLE)-fp32 $(XL_STYLE)-int8-openvino \
	  --prompts demo/prompts/evaluation.txt -o reports/bench-xl-style --limit 8 --no-speed --no-bf16 --no-other-seed $(ARGS)

# 4-bit weights for linears, as they are and with a correction of rank 16, calibrated as the INT8 bundles of `make demo`.
INT4_TARGETS := openvino onnxruntime
INT4_OPTIONS := --overwrite --recipe int4-weights --prompts demo/prompts/calibration.txt --trajectories 64 --samples 256

bench-int4: $(READY) ## Measure the fidelity of the embedded checkpoint in 4-bit weights beside INT8; makes the bundles
	$(BIN)/python -m demo.run bundles/demo-fp32 $(GATED)
	set -e; for target in $(INT4_TARGETS); do \
	  $(BIN)/python -m mezzotint quantize bundles/demo-fp32 -o bundles/int4-$$target --target $$target $(INT4_OPTIONS); \
	  $(BIN)/python -m mezzotint quantize bundles/demo-fp32 -o bundles/int4-rank16-$$target --target $$target \
	    $(INT4_OPTIONS) --int4-rank 16; \
	  $(BIN)/python -m mezzotint benchmark demo/checkpoint bundles/demo-int8-$$target bundles/int4-$$target \
	    bundles/int4-rank16-$$target --prompts demo/prompts/evaluation.txt -o reports/bench-int4-$$target --limit 8 \
	    --no-speed --no-bf16 --no-other-seed $(ARGS); \
	done

# Graphs for GPUs, computed on the CPU with every FP16 result rounded: what their numbers do to images, and no times.
# FP8 begins at 25 dB where INT8 begins at 29; both leave nodes out until calibration calls reach the floor.
TENSORRT_FLOOR_DB := 31
TENSORRT_BUNDLES := $(addprefix bundles/tensorrt-,fp16 int8 fp8)

bench-tensorrt: $(READY) ## Measure the fidelity of the embedded checkpoint in graphs for TensorRT, without a GPU; makes the bundles
	$(BIN)/python -m demo.run bundles/demo-fp32
	set -e; for recipe in fp16 int8 fp8; do \
	  $(BIN)/python -m mezzotint quantize bundles/demo-fp32 -o bundles/tensorrt-$$recipe --overwrite --recipe $$recipe \
	    --target tensorrt --prompts demo/prompts/calibration.txt --trajectories 64 --samples 256 \
	    $$([ $$recipe = fp16 ] || echo --min-sqnr-db $(TENSORRT_FLOOR_DB)); \
	done
	$(BIN)/python -m mezzotint benchmark demo/checkpoint bundles/demo-fp32 $(TENSORRT_BUNDLES) --stand-in \
	  --prompts demo/prompts/evaluation.txt -o reports/bench-tensorrt --limit 32 --no-speed --no-bf16 --no-other-seed $(ARGS)

# The adapters of demo/adapters on INT8: rounded anew on the ranges that the bundle has, calibrated anew, and live. What
# images show is looked up in the training pictures, which are fetched and rendered for it. 64 of the 128 prompts calibrate.
# On a machine that does something else as well, ARGS=--no-speed leaves out the times, which would be of that; TRAINED=style
# takes one of them alone.
ADAPTERS   := demo/adapters
TRAINED    := $(basename $(notdir $(wildcard $(ADAPTERS)/*.safetensors)))
CALIBRATED := --overwrite --recipe int8 --target openvino --prompts demo/prompts/calibration.txt --trajectories 64 \
  --samples 256 --min-sqnr-db 31
LCM        := --scheduler lcm --steps 4 --guidance 1
CONCEPTS   := --prompts reports/concepts.txt --weights reports/weights --no-bf16 --no-other-seed

bench-adapters: $(READY) ## Measure the adapters of demo/adapters on INT8, LCM-LoRA in 4 steps; makes the bundles; fetches the training pictures
	$(BIN)/python -m demo.run bundles/demo-fp32 bundles/demo-int8-openvino
	$(BIN)/python -m demo.train --until render
	$(BIN)/python -m demo.train.gallery -o reports/weights
	cat demo/prompts/evaluation.txt demo/prompts/calibration.txt > reports/concepts.txt
	set -e; for name in $(TRAINED); do \
	  lora="$(BIN)/python -m mezzotint lora --overwrite"; file=$(ADAPTERS)/$$name.safetensors; to=bundles/$$name; \
	  $$lora bundles/demo-fp32 $$file -o $$to-fp32; \
	  $$lora bundles/demo-fp32 $$file -o $$to-fp32-live --live; \
	  $$lora bundles/demo-int8-openvino $$file -o $$to-int8-rounded --base bundles/demo-fp32 \
	    --prompts demo/prompts/calibration.txt; \
	  $$lora bundles/demo-int8-openvino $$file -o $$to-int8-live --base bundles/demo-fp32 --live; \
	  $(BIN)/python -m mezzotint quantize $$to-fp32 -o $$to-int8-calibrated $(CALIBRATED) \
	    $$([ $$name = style ] || echo $(LCM)); \
	done
	$(if $(filter lcm,$(TRAINED)),$(BIN)/python -m mezzotint benchmark demo/checkpoint bundles/demo-int8-openvino \
	  $(CONCEPTS) --limit 16 -o reports/bench-adapters-none --rounds 2 $(ARGS))
	$(if $(filter lcm,$(TRAINED)),$(BIN)/python -m mezzotint benchmark demo/checkpoint \
	  $(addprefix bundles/lcm-,fp32 int8-rounded int8-calibrated int8-live) $(CONCEPTS) --lora $(ADAPTERS)/lcm.safetensors \
	  $(LCM) -o reports/bench-adapters-lcm --rounds 2 $(ARGS))
	$(if $(filter style,$(TRAINED)),$(BIN)/python -m mezzotint benchmark demo/checkpoint \
	  $(addprefix bundles/style-,fp32 fp32-live int8-rounded int8-calibrated int8-live) --lora $(ADAPTERS)/style.safetensors \
	  --prompts demo/prompts/evaluation.txt --limit 8 --no-bf16 --no-other-seed --no-speed \
	  -o reports/bench-adapters-style $(ARGS))

bench-sd15: $(READY) ## Measure speed at full size for docs/results.md: the bundles bundles/sd15-* made of SD15
	$(BIN)/python -m mezzotint benchmark "$(SD15)" $(sort $(wildcard bundles/sd15-*)) -o reports/bench-sd15 \
	  --prompts demo/prompts/evaluation.txt --limit 1 --scheduler ddim --parts --rounds 3 --images 3 --no-fidelity \
	  --backends onnxruntime,openvino --peers bundles/peers/sd15 $(ARGS)

tables: $(READY) ## Put the results of the bench targets into docs/results, docs/results.md, README.md and docs/gpu.md
	$(BIN)/python -m mezzotint dev publish README.md docs/results $(wildcard reports/bench-*/results.json) --page docs/gpu.md \
	  $(if $(wildcard reports/demo/results.json),--strip reports/demo/results.json)

# One process more than the cores that are asked for, as tests wait too: for other processes, and for what one makes for all.
test: $(READY) ## Run the tests that take minutes at most
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not slow and not gpu and not browser and not embedded"

# Apart from the others, since exporting and quantizing that checkpoint takes longer than most of them together.
test-embedded: $(READY) ## Run the tests on the embedded checkpoint: integer kernels, and graphs that say the same
	$(BIN)/python -m demo.run bundles/demo-fp32
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "embedded and not slow"

test-slow: $(READY) ## Run the slow tests
	$(BIN)/python -m pytest -m slow

# Debian's Chromium. Where there is none and it may not be installed, this says so and runs nothing.
CHROMIUM := { command -v chromium || command -v chromium-browser; } > /dev/null
test-browser: $(READY) ## Run the page's tests in Chromium; installs it where it may
	@$(CHROMIUM) || [ "$$(id -u)" != 0 ] || apt-get install --yes --quiet chromium || true
	@if ! $(CHROMIUM); then echo "No Chromium here and none could be installed: the page's tests did not run." >&2; else \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[browser]' && \
	  $(BIN)/python -m pytest -m browser tests/serve/browser; fi

# The same tests with the newest transformers and diffusers, which Optimum does not allow yet, in an environment of their own.
NEWEST := accelerate|diffusers|huggingface_hub|optimum|optimum-onnx|safetensors|tokenizers|transformers
test-latest: $(READY) ## Run the tests with the newest transformers and diffusers
	$(PYTHON) -m venv $(VENV)/latest
	grep -vE '^($(NEWEST))==' constraints.txt > $(VENV)/latest/constraints.txt
	$(VENV)/latest/bin/python -m pip install --quiet --disable-pip-version-check --upgrade -c $(VENV)/latest/constraints.txt \
	  -e '.[onnxruntime,openvino,export,quantize,serve,benchmark]' build httpx2 jsonschema openai pytest webuiapi
	$(VENV)/latest/bin/python -m pytest -m "not slow and not gpu and not browser"

lint: $(READY) ## Check style and formatting
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(READY) ## Check types
	$(BIN)/mypy --strict -p mezzotint -p demo -p tests

check: lint types test ## Style, types and tests, as continuous integration runs them

clean: ## Remove .venv, caches and build leftovers; bundles/ and reports/ stay
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Touched last, so that an interrupted installation is taken up again.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Mezzotint needs Python 3.11 or newer, and '$(PYTHON)' is not: name one with 'make PYTHON=python3.12 ...'." >&2; exit 1; }
	@echo "Setting up $(VENV); this takes some minutes once."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[dev]'
	@touch $@
