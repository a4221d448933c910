"""One thing for one fresh process to do, as a value that travels in a file and that names its own result.

    reference   the baseline generates every prompt and records its denoiser's calls  -> arrays
    fidelity    a case generates every prompt, and answers the reference's calls      -> arrays
    timing      a case is loaded cold, generates `images` images, and leaves      -> figures
    roofline    a bundle's kernels are counted, and the machine's peaks measured  -> figures
    parts       as timing, but of each part alone: `images` UNet steps          -> figures

The result's file name holds a hash of all that could change it, so a result on disk is either the right one or unused.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from mezzotint.errors import MezzotintError

from ..cases.case import Case, Reading
from ..cases.workload import Workload

TaskKind = Literal["reference", "fidelity", "timing", "parts", "roofline"]


@dataclass(frozen=True)
class Task:
    """`fingerprint` stands for the case's files, the code and the machine; `reference` is the result file of the
    reference task, in the same folder, which teacher forcing needs; `round` and `images` belong to timing and parts,
    and so does `whole`: whether one whole image is timed after the parts."""

    kind: TaskKind
    case: Case
    workload: Workload
    fingerprint: str
    reference: str | None = None
    round: int = 0
    images: int = 0
    whole: bool = False

    @property
    def is_timing(self) -> bool:
        """Whether the result is figures of time and memory."""
        return self.kind in ("timing", "parts")

    @property
    def is_record(self) -> bool:
        """Whether the result is what the case generated."""
        return self.kind in ("reference", "fidelity")

    @property
    def name(self) -> str:
        """File name of the task without an ending, readable and unique to its content."""
        what = f"{self.kind}-{self.round}" if self.is_timing else self.kind
        reading = replace(self.case.reading, config=None)
        case = replace(self.case, source="", python=None, reading=reading)  # the fingerprint stands for the files
        content = replace(self, case=case).to_json()
        return f"{self.case.name}.{what}.{hashlib.sha256(content.encode()).hexdigest()[:16]}"

    @property
    def result_name(self) -> str:
        """File name of the result."""
        return f"{self.name}.{'npz' if self.is_record else 'json'}"

    def to_json(self) -> str:
        """Deterministic JSON text."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"

    @classmethod
    def read(cls, path: Path) -> "Task":
        """The task that `to_json` wrote."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            case = data.pop("case")
            case = Case(**case | {"quantized": tuple(case["quantized"]), "reading": Reading(**case["reading"])})
            workload = data.pop("workload")
            return cls(case=case, workload=Workload(**workload | {"prompts": tuple(workload["prompts"])}), **data)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise MezzotintError(f"{path} is not a benchmark task ({error!r}); run the benchmark again") from None
