"""Turns an FP32 bundle into an FP16 or INT8 one for a target, and checks what that cost.

The contract is runtime's decisions.py: decisions know no target; a lowering turns them into a graph for one engine.
"""

from .calibrate.trajectories import CalibrationSettings
from .quantize import quantize_bundle
from .verify.audit import Audit, audit_bundle, check_promise

__all__ = ["Audit", "CalibrationSettings", "audit_bundle", "check_promise", "quantize_bundle"]
