"""Whether a bundle is one that quantization begins with."""

from mezzotint.bundle.bundle import Bundle
from mezzotint.errors import MezzotintError


def check_quantizable(bundle: Bundle) -> None:
    """MezzotintError for a bundle that is quantized, and for one whose graphs have live adapters."""
    if bundle.manifest.recipe != "fp32":
        raise MezzotintError(
            f"{bundle.path} is {bundle.manifest.recipe} already; quantize the FP32 bundle it came from"
        )
    if bundle.manifest.live:
        raise MezzotintError(
            f"{bundle.path} has live adapters; quantize the bundle it was made from, and give them to the result with "
            "`mezzotint lora --live --base`"
        )
