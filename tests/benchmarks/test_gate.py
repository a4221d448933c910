import pytest

from mezzotint.benchmarks.cases.case import Case
from mezzotint.benchmarks.figures.results import CaseRow, GateRow
from mezzotint.benchmarks.gate import (
    PATHS,
    check_conditions,
    describe_failure,
    evaluate,
    parse_conditions,
    put_to_measured,
)
from mezzotint.errors import MezzotintError
from tests.benchmarks.synthetic import results

CASES = (
    Case("diffusers-fp32", "baseline", "x", "y", "z"),
    Case("int8-openvino", "bundle", "x", "y", "z"),
    Case("int8-openvino@a", "bundle", "x", "y", "z"),
)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[CaseRow]:
    return results(tmp_path_factory.mktemp("report"))["cases"]


@pytest.mark.parametrize(
    ("text", "case", "path", "operator", "limit"),
    [
        ("int8-openvino:psnr_db<24", "int8-openvino", "fidelity.psnr_db.median", "<", 24.0),
        ("int8-openvino@a:latency_ms.end_to_end>500", "int8-openvino@a", "latency_ms.end_to_end.median", ">", 500.0),
        ("fidelity.psnr_db.p5 < 20", None, "fidelity.psnr_db.p5", "<", 20.0),
        ("psnr_db.p5<=-1.5e1", None, "fidelity.psnr_db.p5", "<=", -15.0),
        ("int8-openvino : speedup.fp32 >= .5", "int8-openvino", "speedup.fp32", ">=", 0.5),
        ("cold_start_ms > 3000", None, "cold_start_ms.median", ">", 3000.0),
        ("latency_ms.unet_step.p95>9", None, "latency_ms.unet_step.p95", ">", 9.0),
        ("memory.peak_rss_bytes>3e9", None, "memory.peak_rss_bytes", ">", 3e9),
        ("bytes_on_disk>1.", None, "bytes_on_disk", ">", 1.0),
    ],
)
def test_conditions_parse(text: str, case: str | None, path: str, operator: str, limit: float) -> None:
    (condition,) = parse_conditions(text)
    assert (condition.case, condition.path, condition.operator, condition.limit) == (case, path, operator, limit)


def test_or_joins_conditions() -> None:
    assert [condition.text for condition in parse_conditions("psnr_db<24 or  ssim<0.9")] == ["psnr_db<24", "ssim<0.9"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "psnr_db",
        "psnr_db<",
        "<24",
        "psnr_db<24dB",
        "psnr_db=24",
        "psnr_db==24",
        "psnr_db<nan",
        "psnr_db<24 or",
    ],
)
def test_what_does_not_parse_is_quoted(text: str) -> None:
    with pytest.raises(MezzotintError, match="does not understand"):
        parse_conditions(text)


@pytest.mark.parametrize("path", ["pnsr_db", "latency_ms", "latency_ms.vae", "fidelity", "name", "psnr_db.p95"])
def test_an_unknown_figure_lists_those_that_there_are(path: str) -> None:
    with pytest.raises(
        MezzotintError, match=rf"no figure '{path}'; there are .*fidelity\.psnr_db, fidelity\.psnr_db\.p5"
    ):
        parse_conditions(f"{path}<1")


def test_an_unknown_case_lists_those_that_there_are() -> None:
    with pytest.raises(MezzotintError, match=r"'int4'; there are diffusers-fp32, int8-openvino"):
        check_conditions(parse_conditions("int4:psnr_db<24"), CASES)
    check_conditions(parse_conditions("int8-openvino:psnr_db<24 or psnr_db<24"), CASES)


def test_a_condition_for_every_bundle_needs_one() -> None:
    with pytest.raises(MezzotintError, match="there is none"):
        check_conditions(parse_conditions("psnr_db<24"), CASES[:1])


def test_a_gate_is_put_to_what_is_measured_and_says_what_is_not() -> None:
    conditions = [*parse_conditions("int8-openvino:ssim<0.9 or fp16-openvino:ssim<0.9"), *parse_conditions("ssim<0.8")]
    asked, others = put_to_measured(conditions, CASES)
    assert [condition.text for condition in asked] == ["int8-openvino:ssim<0.9", "ssim<0.8"]
    assert others == ("fp16-openvino",)
    with pytest.raises(MezzotintError, match="asks of fp16-openvino alone"):
        put_to_measured(parse_conditions("fp16-openvino:ssim<0.9"), CASES)
    assert put_to_measured([], CASES) == ((), ())


def _verdicts(rows: list[CaseRow], text: str) -> dict[str, GateRow]:
    return {row["case"]: row for row in evaluate(parse_conditions(text), rows)}


def test_the_median_and_the_tail_are_compared(rows: list[CaseRow]) -> None:
    row = next(row for row in rows if row["name"] == "int8-openvino")
    assert row["fidelity"] is not None
    median, tail = row["fidelity"]["psnr_db"]["median"], row["fidelity"]["psnr_db"]["p5"]
    assert median is not None
    assert tail is not None
    for path, value in (("psnr_db", median), ("psnr_db.p5", tail)):
        above = _verdicts(rows, f"int8-openvino:{path}<{value + 0.1}")["int8-openvino"]
        below = _verdicts(rows, f"int8-openvino:{path}<{value - 0.1}")["int8-openvino"]
        assert (above["failed"], below["failed"]) == (True, False)
        assert above["got"] == value


@pytest.mark.parametrize(("operator", "failed"), [("<", False), ("<=", True), (">", False), (">=", True)])
def test_the_limit_itself(rows: list[CaseRow], operator: str, failed: bool) -> None:
    assert _verdicts(rows, f"int8-openvino:latency_ms.end_to_end{operator}200")["int8-openvino"]["failed"] is failed


def test_without_a_case_every_bundle_is_asked_and_no_control(rows: list[CaseRow]) -> None:
    verdicts = _verdicts(rows, "psnr_db<35")
    assert set(verdicts) == {"fp32-onnxruntime", "int8-openvino", "int8-onnxruntime", "fp16-openvino"}
    assert verdicts["int8-onnxruntime"]["failed"]
    assert not verdicts["int8-openvino"]["failed"]


def test_identical_is_more_than_any_number(rows: list[CaseRow]) -> None:
    verdict = _verdicts(rows, "fp32-onnxruntime:psnr_db<1e9")["fp32-onnxruntime"]
    assert (verdict["failed"], verdict["got"], verdict["note"]) == (False, None, "identical")
    assert _verdicts(rows, "fp32-onnxruntime:psnr_db>60")["fp32-onnxruntime"]["failed"]


@pytest.mark.parametrize("operator", ["<", "<=", ">", ">="])
@pytest.mark.parametrize(
    ("case", "path", "reason"),
    [
        ("fp16-openvino", "psnr_db", "signal 9"),
        ("fp16-openvino", "latency_ms.end_to_end", "a control"),
        ("int8-openvino", "memory.peak_vram_bytes", "no GPU"),
        ("int8-openvino", "speedup.bf16", "was not measured"),
        ("other-seed", "eps_sqnr_db", "trajectory"),
    ],
)
def test_a_missing_figure_fails_whatever_is_asked(
    rows: list[CaseRow], case: str, path: str, reason: str, operator: str
) -> None:
    verdict = _verdicts(rows, f"{case}:{path}{operator}1")[case]
    assert verdict["failed"]
    assert verdict["note"] is not None
    assert reason in verdict["note"]


@pytest.mark.parametrize("path", PATHS)
def test_every_path_leads_somewhere(rows: list[CaseRow], path: str) -> None:
    (verdict,) = _verdicts(rows, f"int8-openvino:{path}<0").values()
    assert verdict["failed"] is (verdict["got"] is None)


def test_a_broken_condition_is_one_sentence(rows: list[CaseRow]) -> None:
    (verdict,) = _verdicts(rows, "int8-openvino:latency_ms.end_to_end>100").values()
    text = describe_failure(verdict)
    assert text == "int8-openvino breaks the gate 'int8-openvino:latency_ms.end_to_end>100': got 200"
