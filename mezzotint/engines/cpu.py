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


def _cpuinfo(key: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key), "")
