"""What a GPU's compiler said of a component, in a line: for `quantize`, `inspect` and whoever shows a bundle."""

from mezzotint.bundle.manifest import Component


def compiled_lines(component: Component) -> list[str]:
    """One line for compute capabilities of equal figures; none for a component that was not compiled."""
    found: dict[str, list[str]] = {}
    for one in component.compiled:
        figures = f"8-bit coverage {one.coverage:.1%}, share {one.share:.1%}, " if one.share else ""
        fused = f"{one.fused_attentions} of {one.attentions} attentions fused, " if one.attentions else ""
        found.setdefault(f"{figures}{fused}{one.state} ({one.compiler})", []).append(one.compute_capability)
    return [f"compiled for {', '.join(where)}: {text}" for text, where in found.items()]
