"""`mezzotint build`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mezzotint.engines.rtx.library import BUILT_FOR, CAPABILITIES, capabilities_of
from mezzotint.engines.rtx.prebuilt import shapes_text
from mezzotint.errors import MezzotintError

from .options import SIZE_HELP, AsJson, BundlePath
from .terminal import STDOUT, show_progress, write_json

if TYPE_CHECKING:
    from mezzotint.bundle.manifest import BuiltEngine
    from mezzotint.runtime import Bundle

_CAPABILITY = (
    f"Compute capabilities of the GPUs, joined by commas ({', '.join(CAPABILITIES)}; default: {','.join(BUILT_FOR)}, "
    "and without 8.6 for fp8)."
)
_COUNT = "Images at once (default: 1)."
_TRUST = "Build nothing: let the engines that came with the bundle run on this machine."


def build(
    bundle: BundlePath,
    compute_capability: Annotated[str | None, typer.Option(help=_CAPABILITY)] = None,
    count: Annotated[int | None, typer.Option(min=1, help=_COUNT)] = None,
    height: Annotated[int | None, typer.Option(help=SIZE_HELP)] = None,
    width: Annotated[int | None, typer.Option(help=SIZE_HELP)] = None,
    trust: Annotated[bool, typer.Option("--trust", help=_TRUST)] = False,
    as_json: AsJson = False,
) -> None:
    """Compile a bundle's graphs to engines of TensorRT-RTX ahead of time; it needs no GPU.

    They lie beside the graphs. The tensorrt backend takes one where graph, shapes, compute capability and version fit,
    and says why where it does not. An engine is a program: those that came with a bundle run only after --trust.
    """
    from mezzotint.quantize.build_engines import BuildSize, build_engines, capabilities_for, trust_engines
    from mezzotint.runtime import Bundle

    opened = Bundle.open(bundle)
    if trust:
        if any(given is not None for given in (compute_capability, count, height, width)):
            raise MezzotintError("--trust builds nothing, so that the other options mean nothing; leave them out")
        STDOUT.print(f"{trust_engines(opened)} engines of {bundle} may run on this machine", markup=False)
        return
    asked = capabilities_for(opened) if compute_capability is None else capabilities_of(compute_capability)
    size = BuildSize(count=1 if count is None else count, height=height, width=width)
    with show_progress() as progress:
        built = build_engines(opened, asked, size, progress=progress)
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
