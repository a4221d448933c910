"""In front of a worker's path: the worker has the GPU that is not there."""

from tests.engines.gpu_stub import install

install()
