"""A bundle for a GPU as a subject without the GPU: its graphs on a CPU engine, rounding as they would there.

What images and answers of the denoiser lose is the same; time and memory are of nothing that anybody runs.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from mezzotint.bundle.bundle import Bundle
from mezzotint.engines.onnxruntime import ONNXRUNTIME
from mezzotint.optimize.stand_in import make_stand_in
from mezzotint.runtime.text_to_image import TextToImage

from .bundle_subject import BundleSubject
from .case import Case


def load(case: Case) -> BundleSubject:
    """Load the graphs of the case's bundle, rounding as on its GPU; MezzotintError without ONNX Runtime."""
    with TemporaryDirectory(prefix="mezzotint-") as folder:
        bundle = make_stand_in(Bundle.open(case.source), Path(folder) / "bundle")
        return BundleSubject(TextToImage.load(bundle.path, backend=ONNXRUNTIME.name))
