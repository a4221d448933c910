"""Where typer and rich are missing, the command line says so in one sentence, and the library does not miss them."""

import subprocess
import sys
from pathlib import Path

import pytest

from mezzotint.cli.epilogue import exit_with_a_sentence
from mezzotint.errors import CheckFailed, MezzotintError
from mezzotint.runtime import Bundle

ROOT = Path(__file__).parents[2]
HIDE = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name.partition(".")[0])

sys.meta_path.insert(0, Hidden())
"""
COMMAND = "from mezzotint.cli.app import main; main()"
GENERATE = """
from mezzotint.runtime import TextToImage
steps = []
pipe = TextToImage.load(sys.argv[1], backend="onnxruntime")
pipe("a red apple", steps=2, on_step=lambda step: steps.append(step.index))
print(steps)
"""


def run(hidden: tuple[str, ...], code: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A program where the packages `hidden` cannot be imported."""
    program = HIDE.format(hidden=hidden) + code
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("hidden", [("typer",), ("rich",), ("typer", "rich", "click")], ids="+".join)
@pytest.mark.parametrize("arguments", [(), ("--help",), ("verify", "bundle")], ids=" ".join)
def test_one_sentence_says_what_to_install(hidden: tuple[str, ...], arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = run(hidden, COMMAND, *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("mezzotint: ")
    assert "`pip install 'mezzotint[cli]'`" in line


def test_the_library_generates_and_reports_progress_without_them(tiny_bundle: Bundle, tmp_path: Path) -> None:
    done = run(("typer", "rich"), GENERATE, tiny_bundle.path, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "[0, 1]\n"), done.stderr


@pytest.mark.parametrize("words", [("quantize", "in"), ("lora", "in", "a.safetensors"), ("embedding", "in", "a.pt")])
def test_a_command_names_the_extra_that_it_needs(words: tuple[str, ...], tmp_path: Path) -> None:
    done = run(("onnx_ir",), COMMAND, *words, "-o", "out", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "quantize]'`" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("command", ["export", "quantize", "generate", "audit", "benchmark", "doctor"])
def test_help_needs_nothing_but_the_command_line(command: str, tmp_path: Path) -> None:
    hidden = ("torch", "diffusers", "transformers", "onnx", "onnx_ir", "onnxscript", "nncf", "onnxruntime", "openvino")
    done = run(hidden, COMMAND, command, "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_the_list_of_commands_loads_none_of_them(tmp_path: Path) -> None:
    hidden = ("numpy", "PIL", "tokenizers", "onnx_ir", "torch")
    assert run(hidden, COMMAND, "--help", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MezzotintError("wrong"), 2),
        (CheckFailed("wrong"), 1),
        (OSError(28, "No space left on device", "out"), 2),
        (OSError(36, "File name too long", "x" * 5000), 2),
        (OSError(40, "Too many levels of symbolic links", "loop"), 2),
        (PermissionError(13, "Permission denied", b"secret"), 2),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), 2),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_kind_of_failure_has_its_exit_code(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended, exit_with_a_sentence("export"):
        raise error
    assert ended.value.code == code
    said = capsys.readouterr().err
    assert said.startswith("mezzotint: ")
    assert len(said) < 500  # however long a path is


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), PermissionError(13, "Permission denied")])
def test_a_failure_that_names_no_path_keeps_its_traceback(error: OSError) -> None:
    with pytest.raises(OSError, match=str(error.strerror)), exit_with_a_sentence("export"):
        raise error


def test_a_module_of_our_own_that_is_missing_is_a_fault_of_ours() -> None:
    with pytest.raises(ModuleNotFoundError), exit_with_a_sentence("export"):
        raise ModuleNotFoundError("No module named 'mezzotint.none'", name="mezzotint.none")
