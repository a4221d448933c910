"""What this CPU can do, as the kernel names it."""

import hashlib
import platform
from functools import cache
from pathlib import Path


@cache
def cpu_features() -> frozenset[str]:
    """The flags of the first processor, such as "avx512_vnni" or "amx_int8"; empty where /proc has none."""
    return frozenset(_cpuinfo("flags").split())


@cache
def cpu_model() -> str:
    """The processor's model name; "unknown" where /proc has none."""
    return _cpuinfo("model name") or "unknown"


@cache
def cpu_generation() -> str:
    """Family and model: they tell processors apart that a hypervisor gives one name. "" where /proc has none."""
    family, model = _cpuinfo("cpu family"), _cpuinfo("model")
    return f"family {family}, model {model}" if family and model else ""


@cache
def cpu_key() -> str:
    """A short name, fit for a folder, that processors share which are of one model and have the same features."""
    text = "|".join((platform.machine(), cpu_model(), cpu_generation(), *sorted(cpu_features())))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def cpu_vendor() -> str:
    """Such as "GenuineIntel" or "AuthenticAMD"; "" where /proc has none."""
    return _cpuinfo("vendor_id")


def has_bf16() -> bool:
    """Whether instructions multiply BF16 here at all."""
    return bool(cpu_features() & {"avx512_bf16", "amx_bf16"})


def is_bf16_faster() -> bool:
    """Whether OpenVINO's products in BF16 take less time than in FP32, as far as that was measured.

    With AMX's tiles they do, and on AMD's processors with AVX512-BF16 (Zen 4: a UNet step in two thirds of the time).
    On Intel's with AVX512-BF16 alone, which is what virtual machines without AMX show, they take 2.3 times as long (17
    against 40 billion multiplications a second on one core).
    """
    return "amx_bf16" in cpu_features() or (has_bf16() and cpu_vendor() == "AuthenticAMD")


def _cpuinfo(key: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key), "")
