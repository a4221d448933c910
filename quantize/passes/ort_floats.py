"""The float operators that ONNX Runtime's CPU engine runs badly as they are, written in ones that it runs well."""

from .ort_attention import ORT_ATTENTION
from .ort_group_norm import ORT_GROUP_NORM
from .remove_unused import REMOVE_UNUSED

ORT_FLOATS = (ORT_ATTENTION, ORT_GROUP_NORM, REMOVE_UNUSED)
