"""`mezzotint build`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mezzotint.engines.rtx.library import CAPABILITIES
from mezzotint.engines.rtx.prebuilt import shapes_text

from .options import SIZE_HELP, AsJson, BundlePath
from .terminal import STDOUT, show_progress, write_json

if TYPE_CHECKING:
    from mezzotint.bundle.manifest import BuiltEngine
    from mezzotint.runtime import Bundle

_CAPABILITY = f"Compute capabilities of the GPUs, joined by commas ({', '.join(CAPABILITIES)})."
_COUNT = "Images at once."
_TRUST = "Build nothing: let the engines that came with the bundle run on this machine."


def build(
    bundle: BundlePath,
    compute_capability: Annotated[str, typer.Option(help=_CAPABILITY)] = "8.6,8.9,12.0",
    count: Annotated[int, typer.Option(min=1, help=_COUNT)] = 1,
    height: Annotated[int | None, typer.Option(help=SIZE_HELP)] = None,
    width: Annotated[int | None, typer.Option(help=SIZE_HELP)] = None,
    trust: Annotated[bool, typer.Option("--trust", help=_TRUST)] = False,
    as_json: AsJson = False,
) -> None:
    """Compile a bundle's graphs to engines of TensorRT-RTX ahead of time; it needs no GPU.

    They lie beside the graphs. The tensorrt backend takes one where graph, shapes, compute capability and version fit,
    and says why where it does not. An engine is a program: those that came with a bundle run only after --trust.
    """
    from mezzotint.quantize.build_engines import BuildSize, build_engines, trust_engines
    from mezzotint.runtime import Bundle

    opened = Bundle.open(bundle)
    if trust:
        STDOUT.print(f"{trust_engines(opened)} engines of {bundle} may run on this machine", markup=False)
        return
    size = BuildSize(count=count, height=height, width=width)
    with show_progress() as progress:
        built = build_engines(opened, compute_capability.split(","), size, progress=progress)
    _show(built, as_json=as_json)


def _show(bundle: "Bundle", *, as_json: bool) -> None:
    engines = {name: component.engines for name, component in bundle.manifest.components.items()}
    if as_json:
        write_json({name: [_data(one) for one in built] for name, built in engines.items()})
        return
    for name, built in engines.items():
        for one in built:
            where = ", ".join(one.compute_capabilities)
            size = f"{one.file.bytes / 1e6:.1f} MB"
            text = f"{name}: {one.file.path}, {size}, for {where}, {shapes_text(one.shapes)}; built, never run"
            STDOUT.print(text, markup=False)


def _data(engine: "BuiltEngine") -> dict[str, Any]:
    from mezzotint.bundle.records import record_data

    data: dict[str, Any] = record_data(engine)
    return data
