"""A configuration: a file, the environment, flags; where each value comes from, and what is refused."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mezzotint.errors import MezzotintError
from mezzotint.serve.config.service import ServiceConfig
from mezzotint.serve.config.sources import config_schema, field_names, read_config

FILE = {"port": 8000, "bundles": ["a", "b"], "idle": {"exit_s": 1800, "unload_s": None}, "queue": {"pending": 5}}


def written(tmp_path: Path, data: Any) -> Path:
    path = tmp_path / "service.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    environment = {"MEZZOTINT_SERVE_PORT": "9000", "MEZZOTINT_SERVE_QUEUE_PENDING": "7", "PATH": "/bin"}
    sourced = read_config(written(tmp_path, FILE), environment, {"queue.pending": 9, "host": None})
    config = sourced.config
    assert (config.port, config.queue.pending, config.bundles) == (9000, 9, ("a", "b"))
    assert (config.idle.exit_s, config.idle.unload_s, config.host) == (1800.0, None, "127.0.0.1")
    printed = sourced.printed()
    assert printed["port"] == {"value": 9000, "from": "MEZZOTINT_SERVE_PORT"}
    assert printed["queue.pending"]["from"] == "flag"
    assert printed["idle.exit_s"]["from"] == str(tmp_path / "service.json")
    assert printed["host"]["from"] == "default"
    assert set(printed) == set(field_names(ServiceConfig))


def test_without_anything_it_is_the_default() -> None:
    assert read_config(None, {}, {}).config == ServiceConfig()


@pytest.mark.parametrize(
    "data",
    [
        {"surprise": 1}, {"port": "8000"}, {"port": -1}, {"idle": {"exit": 3}}, {"idle": 3}, {"bundles": "a"},
        {"backend": "magic"}, {"queue": {"pending": 0}}, {"limits": {"steps": 1.5}}, [], "text", "{", "[" * 100_000,
    ],
)  # fmt: skip
def test_what_a_file_must_not_say(tmp_path: Path, data: Any) -> None:
    with pytest.raises(MezzotintError):
        read_config(written(tmp_path, data), {}, {})
    if isinstance(data, dict | list):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(data, config_schema())


@pytest.mark.parametrize(
    "environment", [{"MEZZOTINT_SERVE_SURPRISE": "1"}, {"MEZZOTINT_SERVE_PORT": "many"}, {"MEZZOTINT_SERVE_LANES": "0"}]
)
def test_what_the_environment_must_not_say(environment: dict[str, str]) -> None:
    with pytest.raises(MezzotintError):
        read_config(None, environment, {})


def test_the_schema_takes_what_is_taken() -> None:
    schema = config_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    for data in (FILE, {}, {"keys_file": None, "limits": {"most_scale": 4}}):
        jsonschema.validate(data, schema)
    assert schema["properties"]["port"]["default"] == 7860
