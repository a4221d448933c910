"""What a GPU's compiler makes of each graph of a bundle that was just made: into the manifest, or a refusal."""

from dataclasses import replace

from mezzotint.bundle.bundle import Bundle, write_manifest
from mezzotint.engines.rtx.library import missing_builder
from mezzotint.progress import Progress

from ..lower.target import Target
from .audit import audit_compiled, check_coverage
from .audit_tensorrt import audited_for


def note_compiled(bundle: Bundle, target: Target, progress: Progress) -> None:
    """Compile every graph of `bundle`, for `target`, and write what became of it into the manifest.

    Where there is no compiler, nothing is written, and `progress` hears why. Raises CheckFailed where a graph is
    refused, or where less is in 8 bits than the bundle calls so.
    """
    missing = missing_builder()
    if not target.is_compiled or missing is not None:
        why = f"{target.name} {missing}" if target.is_compiled else f"kernels of {target.name} are not recorded"
        progress(f"not audited: {why}", 1, 1)
        return
    components = dict(bundle.manifest.components)
    for index, (name, component) in enumerate(components.items()):
        progress(f"compiling {name} for GPUs", index, len(components))
        audits = audit_compiled(bundle, name, audited_for(component.storage))
        for one in audits:
            check_coverage(one.audit)
        components[name] = replace(component, compiled=tuple(one.record() for one in audits))
    write_manifest(bundle.path, replace(bundle.manifest, components=components))
