"""What is counted, logged and traced; never a prompt or a key."""

import json
import logging

import jsonschema
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families

from mezzotint.serve.web.request_log import JsonLines
from tests.serve.live import Live, wait_until


def figures(server: Live) -> dict[tuple[str, tuple[str, ...]], float]:
    families = text_string_to_metric_families(server.client.get("/metrics").text)
    return {
        (sample.name, tuple(sorted(sample.labels.values()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_jobs_are_counted(fake: Live) -> None:
    fake.done(fake.job(prompt="secret words", steps=3)["id"])
    fake.until(fake.job(prompt="break")["id"], "failed")
    fake.client.get("/v1/models", headers={"Host": "evil"})
    found = figures(fake)
    assert found["mezzotint_jobs_total", ("done", "text", "tiny")] == 1
    assert found["mezzotint_jobs_total", ("failed", "text", "tiny")] == 1
    assert found["mezzotint_unet_steps_total", ("tiny",)] == 3
    assert found["mezzotint_rejected_total", ("unknown_host",)] == 1
    assert found["mezzotint_model_state", ("loaded", "tiny")] == 1
    assert found["mezzotint_queue_depth", ()] == 0
    assert found["mezzotint_component_seconds_count", ("vae_decoder",)] == 1
    assert "secret" not in fake.client.get("/metrics").text


def test_lines_are_json_with_one_id_and_without_prompts(fake: Live, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="mezzotint.serve")
    fake.client.post(
        "/api/v1/jobs", json={"prompt": "secret words"}, headers={"X-Request-Id": "r-1", "X-API-Key": "hush"}
    )

    def lines() -> list[dict[str, object]]:
        own = [record for record in caplog.records if record.name == "mezzotint.serve"]
        return [json.loads(JsonLines().format(record)) for record in own]

    def requests() -> list[dict[str, object]]:
        return [line for line in lines() if line["event"] == "request"]

    asked = wait_until(requests, bool)[0]  # a request's line is written after its answer was sent
    assert (asked["request_id"], asked["path"], asked["status"]) == ("r-1", "/api/v1/jobs", 202)
    assert "secret" not in json.dumps(lines()) and "hush" not in json.dumps(lines())


def test_a_job_has_spans_where_somebody_collects_them(fake: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("mezzotint.serve.web.spans._tracer", lambda: provider.get_tracer("test"))
    fake.done(fake.job()["id"])
    expected = {"job", "queue", "unet", "vae_decoder", "POST /api/v1/jobs"}

    def by_name() -> dict[str, ReadableSpan]:
        return {span.name: span for span in exporter.get_finished_spans()}

    spans = wait_until(by_name, lambda seen: expected <= set(seen))  # a request's span ends after its answer was sent
    part, whole = spans["unet"].parent, spans["job"].context
    assert part is not None and whole is not None and part.span_id == whole.span_id


def test_the_openapi_document_is_whole(fake: Live) -> None:
    document = fake.client.get("/openapi.json").json()
    assert {"/api/v1/jobs", "/sdapi/v1/txt2img", "/v1/images/edits", "/healthz"} <= set(document["paths"])
    names = [one["operationId"] for path in document["paths"].values() for one in path.values()]
    assert len(names) == len(set(names))
    for path in document["paths"].values():
        for one in path.values():
            for content in one.get("requestBody", {}).get("content", {}).values():
                jsonschema.Draft202012Validator.check_schema(content["schema"])
