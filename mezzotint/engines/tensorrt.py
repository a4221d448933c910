"""TensorRT by one of two ways: TensorRT-RTX's own runtime (rtx_graph.py), or ONNX Runtime's TensorRT provider.

TensorRT-RTX needs the driver and nothing else of CUDA, runs on GeForce and RTX cards, and takes the engines that were
built ahead of time. The provider, with ordinary TensorRT, is for all others; where both are installed it runs what has
no such engines. Either builds an engine for each set of shapes once and keeps it in the user's cache folder.

Options as in onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html. No precision flag is set, so the
network is strongly typed (onnxruntime#18707): FP16, FP32 and INT8 are what the graph's types and Q/DQ say. No other
provider is offered, so that a node which TensorRT cannot take is an error and not a detour over the CPU.
"""

import hashlib
import importlib
import importlib.metadata
import importlib.util
from pathlib import Path

from mezzotint.bundle.manifest import Component
from mezzotint.cache import usable_folder

from .compile_cache import trim_cache
from .compiled import Shapes
from .engine import Engine, EngineOptions, Graph
from .gpu_graph import GpuGraph, ProviderOptions, check_types
from .nvidia import gpu_precisions, missing_driver, missing_gpu_part
from .rtx.library import missing_builder
from .rtx_graph import open_rtx

PROVIDER = "TensorrtExecutionProvider"
_LIBRARIES = ("tensorrt", "tensorrt_libs")
_PACKAGES = ("onnxruntime-gpu", "tensorrt")


def tensorrt_options(options: EngineOptions) -> ProviderOptions:
    """Provider options for one session: one profile, whose least, best and largest shapes are the session's own."""
    cache = usable_folder(options.cache_dir)

    def choose(component: Component, shapes: Shapes, is_captured: bool) -> dict[str, str]:
        shapes_text = profile(component, shapes)
        chosen = {
            "device_id": "0",
            "trt_builder_optimization_level": "4",
            "trt_cuda_graph_enable": "1" if is_captured else "0",
            **{f"trt_profile_{which}_shapes": shapes_text for which in ("min", "opt", "max") if shapes_text},
        }
        return chosen if cache is None else {**chosen, **_cache_options(cache, options, component, shapes)}

    return choose


def profile(component: Component, shapes: Shapes) -> str:
    """ "sample:2x4x64x64,encoder_hidden_states:2x77x768": inputs with a symbolic dim, as TensorRT's profiles want."""
    pairs = zip(component.inputs, shapes, strict=True)
    dynamic = [(spec.name, shape) for spec, shape in pairs if any(isinstance(dim, str) for dim in spec.dims)]
    return ",".join(f"{name}:{'x'.join(map(str, shape))}" for name, shape in dynamic)


def engine_folder(cache: Path, component: Component, shapes: Shapes) -> Path:
    """A folder for one graph at one set of shapes.

    The provider's own file names know the GPU but not the weights, so that another checkpoint of the same structure
    would get this one's engine; the folder's name has the graph's hashes and the versions of what built it.
    """
    versions = [importlib.metadata.version(name) for name in _PACKAGES if _is_distributed(name)]
    parts = [*(entry.sha256 for entry in component.files), repr(shapes), *versions]
    return cache / hashlib.sha256("|".join(parts).encode()).hexdigest()[:32]


def _cache_options(cache: Path, options: EngineOptions, component: Component, shapes: Shapes) -> dict[str, str]:
    if not component.files:  # nothing to tell one graph from another by
        return {}
    trim_cache(cache, options.cache_bytes)
    folder = engine_folder(cache, component, shapes)
    folder.mkdir(exist_ok=True)
    return {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(cache),
    }


def _is_distributed(package: str) -> bool:
    return next(iter(importlib.metadata.distributions(name=package)), None) is not None


def _open(path: Path, component: Component, options: EngineOptions) -> Graph:
    check_types("tensorrt", path, component, options)
    if missing_builder() is None and (component.engines or missing_provider() is not None):
        return open_rtx(path, component, options)
    _load_libraries()
    return GpuGraph(path, component, options, PROVIDER, tensorrt_options(options))


def _load_libraries() -> None:
    """CUDA's libraries, then TensorRT's: the provider finds them only when they are in the process already."""
    import onnxruntime

    onnxruntime.preload_dlls()
    importlib.import_module(next(name for name in _LIBRARIES if importlib.util.find_spec(name) is not None))


def _lacks() -> str | None:
    """TensorRT-RTX needs a driver alone; the provider needs more."""
    if missing_builder() is None:
        return missing_driver()
    return missing_provider()


def missing_provider() -> str | None:
    """Why ONNX Runtime's TensorRT provider cannot run here, as the end of a sentence; None when it can."""
    if all(importlib.util.find_spec(name) is None for name in _LIBRARIES):
        return missing_gpu_part("tensorrt") or "needs TensorRT; install it with `pip install 'mezzotint[tensorrt]'`"
    return missing_gpu_part("tensorrt")


TENSORRT = Engine(
    name="tensorrt",
    package="onnxruntime",
    extra="tensorrt",
    runs=("tensorrt",),
    precisions=lambda: gpu_precisions(),
    open=_open,
    lacks=_lacks,
    types_decide=True,
    or_package="tensorrt_rtx_bindings",
)
