"""What is known of a model's fidelity: how its graphs were checked, and what they were calibrated on."""

from typing import Any

from mezzotint.bundle.records import record_data

from .model import Model


def fidelity_card(model: Model) -> dict[str, Any]:
    """From the manifest: recipe, target, parity in dB by component, and the range of the calibration."""
    manifest = model.bundle.manifest
    components = {
        name: {
            "storage": str(component.storage),
            "compute": str(component.compute),
            "checked_against": None if component.parity is None else component.parity.against,
            "sqnr_db": None if component.parity is None else component.parity.sqnr_db,
            "is_identical": component.parity is not None and component.parity.identical,
        }
        for name, component in manifest.components.items()
    }
    return {
        "recipe": manifest.recipe,
        "target": manifest.target,
        "source": manifest.source.name,
        "source_sha256": manifest.source.sha256,
        "components": components,
        "calibration": None if manifest.calibration is None else record_data(manifest.calibration),
    }


def model_card(model: Model, state: str) -> dict[str, Any]:
    """All that a client may want to know of a model before it asks it for an image; `state` is "loaded" or the like."""
    defaults, geometry = model.bundle.defaults(), model.geometry
    return {
        "id": model.name,
        "title": model.title,
        "family": model.family.name,
        "state": state,
        "size": {
            "native": geometry.native_side_pixels,
            "multiple_of": geometry.vae_factor,
        },
        "defaults": {"scheduler": defaults.sampler, "steps": defaults.steps, "guidance": defaults.guidance},
        "samplers": list(model.samplers),
        "features": {
            "text": not model.is_for_inpainting,
            "image": model.takes_images and not model.is_for_inpainting,
            "inpaint": model.takes_images,
        },
        "file_bytes": model.file_bytes,
        "fidelity": fidelity_card(model),
    }
