import hashlib

import pytest

from mezzotint.benchmarks.cases.workload import SCHEDULERS, Workload, defaults_of
from mezzotint.bundle.defaults import Defaults
from mezzotint.errors import MezzotintError
from mezzotint.runtime import Bundle
from mezzotint.runtime.samplers.lineup import SAMPLERS


def test_the_hash_is_that_of_the_prompt_file() -> None:
    content = "a red apple\nein grüner Apfel\n".encode()
    assert Workload(prompts=("a red apple", "ein grüner Apfel")).prompts_sha256 == hashlib.sha256(content).hexdigest()


def test_seeds_count_up() -> None:
    assert [Workload(prompts=("a", "b"), seed=7).seed_of(index) for index in range(2)] == [7, 8]


def test_the_settings_are_the_bundles(tiny_bundle: Bundle) -> None:
    assert defaults_of(tiny_bundle.path, None) == tiny_bundle.defaults()
    assert defaults_of(tiny_bundle.path, "euler").sampler == "euler"


def test_every_scheduler_is_one_of_the_runtimes() -> None:
    assert {name for _, name in SCHEDULERS} <= {sampler.name for sampler in SAMPLERS}


@pytest.mark.parametrize("own", ["ddpm", None])
def test_an_unknown_scheduler_names_those_to_choose_from(
    own: str | None, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bundle, "defaults", lambda _self: Defaults(sampler=own, scheduler_class="DDPMScheduler"))
    with pytest.raises(MezzotintError, match=r"(ddpm|DDPMScheduler).*ddim, pndm"):
        defaults_of(tiny_bundle.path, None)
    with pytest.raises(MezzotintError, match="no scheduler 'ddpm'"):
        defaults_of(tiny_bundle.path, "ddpm")
