import hashlib
import json
from pathlib import Path

import pytest

from mezzotint.benchmarks.cases.workload import SCHEDULERS, Workload, defaults_of
from mezzotint.bundle.defaults import Defaults
from mezzotint.errors import MezzotintError
from mezzotint.runtime.samplers.lineup import SAMPLERS


def test_the_hash_is_that_of_the_prompt_file() -> None:
    content = "a red apple\nein grüner Apfel\n".encode()
    assert Workload(prompts=("a red apple", "ein grüner Apfel")).prompts_sha256 == hashlib.sha256(content).hexdigest()


def test_seeds_count_up() -> None:
    assert [Workload(prompts=("a", "b"), seed=7).seed_of(index) for index in range(2)] == [7, 8]


def _checkpoint(folder: Path, content: object) -> Path:
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_the_scheduler_is_the_checkpoints(tmp_path: Path) -> None:
    folder = _checkpoint(tmp_path, {"_class_name": "DDIMScheduler"})
    assert defaults_of(folder, None) == Defaults(sampler="ddim", scheduler_class="DDIMScheduler")
    assert defaults_of(folder, "euler").sampler == "euler"


def test_every_scheduler_is_one_of_the_runtimes() -> None:
    assert {name for _, name in SCHEDULERS} <= {sampler.name for sampler in SAMPLERS}


def test_an_unknown_scheduler_names_those_to_choose_from(tmp_path: Path) -> None:
    with pytest.raises(MezzotintError, match=r"LCMScheduler.*ddim, pndm"):
        defaults_of(_checkpoint(tmp_path, {"_class_name": "LCMScheduler"}), None)


@pytest.mark.parametrize("content", [{}, [], "text"])
def test_a_config_without_a_scheduler_is_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(MezzotintError, match="names no scheduler"):
        defaults_of(_checkpoint(tmp_path, content), None)
