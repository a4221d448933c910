"""The program `mezzotint`: a command's name picks the file that has it, and nothing else is loaded.

Exit codes: 0 done, 1 a check failed, 2 the user's input, 130 interrupted.
"""

import sys

from .epilogue import exit_with_a_sentence

_EXTRAS = {  # what a command needs beyond the runtime
    "optimize": "onnxruntime,openvino,export,quantize",
    "export": "onnxruntime,export",
    "swap-vae": "onnxruntime,export",
    "lora": "onnxruntime,openvino,quantize",
    "embedding": "onnxruntime,openvino,quantize",
    "quantize": "onnxruntime,openvino,quantize",
    "tune": "onnxruntime,openvino,quantize,benchmark",
    "audit": "quantize",
    "serve": "serve",
    "benchmark": "benchmark",
    "report": "benchmark",
    "dev": "dev",
}


def main() -> None:
    """Run the command line and exit; Typer itself exits with 2 for wrong usage and 130 for an interrupt."""
    with exit_with_a_sentence("cli"):
        from .commands import app
    extra = next((_EXTRAS[word] for word in sys.argv[1:] if word in _EXTRAS), None)
    with exit_with_a_sentence(extra):
        app()
