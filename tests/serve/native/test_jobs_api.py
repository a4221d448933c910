"""Our own API over real sockets: submit, follow, cancel, fetch, repeat."""

import base64
import errno
import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image

from mezzotint.runtime import Bundle, ImageToImage, Inpaint, Settings, TextToImage, read_settings
from tests.runtime.test_image_to_image import photo
from tests.serve.fakes import FakeMaker, colour, colour_of
from tests.serve.live import WAIT_S, Live, events, live, wait_until

PROMPT = "a flat emoji of a red apple"


def pixels(content: bytes) -> Any:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


def as_text(image: Image.Image) -> str:
    content = io.BytesIO()
    image.save(content, format="PNG")
    return base64.b64encode(content.getvalue()).decode()


@pytest.fixture(scope="module")
def pipe(tiny_bundle: Bundle) -> TextToImage:
    return TextToImage.load(tiny_bundle.path, backend="onnxruntime", threads=1)


def test_text_to_image_is_the_runtimes_own(tiny_server: Live, pipe: TextToImage) -> None:
    job = tiny_server.job(prompt=PROMPT, steps=3, seed=7, count=2, scheduler="dpmpp-2m", schedule="karras")
    view = tiny_server.done(job["id"])
    expected = pipe(PROMPT, steps=3, seed=7, count=2, scheduler="dpmpp-2m", schedule="karras")
    for index, image in enumerate(expected.images):
        content = tiny_server.image(job["id"], f"{index}.png")
        np.testing.assert_array_equal(pixels(content), np.asarray(image))
        assert read_settings(content) == expected.settings[index]
        assert (
            Settings(**view["images"][index]["settings"] | {"guidance_interval": (0.0, 1.0), "controls": ()})
            == expected.settings[index]
        )
    assert view["progress"] == {"step": 6, "steps": 6}
    assert set(view["milliseconds"]) == {"text_encoder", "unet", "vae_encoder", "vae_decoder"}


def test_other_formats_hold_the_settings_too(tiny_server: Live) -> None:
    job = tiny_server.job(prompt=PROMPT, steps=1, format="webp")
    tiny_server.done(job["id"])
    for kind in ("webp", "png", "jpeg", "jpg"):
        assert read_settings(tiny_server.image(job["id"], f"0.{kind}")).prompt == PROMPT
    assert tiny_server.client.get(f"/api/v1/jobs/{job['id']}/images/0.gif").status_code == 404
    assert tiny_server.client.get(f"/api/v1/jobs/{job['id']}/images/1.png").status_code == 404


def test_image_to_image_and_inpainting_are_the_runtimes_own(tiny_server: Live, pipe: TextToImage) -> None:
    source, mask = photo(16, 16), Image.new("L", (16, 16))
    mask.paste(255, (0, 0, 8, 16))
    asked = {"prompt": PROMPT, "steps": 4, "seed": 3, "image": as_text(source)}
    again = tiny_server.job(**asked, strength=0.5)["id"]
    inpainted = tiny_server.job(**asked, mask=as_text(mask), keep_unmasked=False)["id"]
    kept = tiny_server.job(**asked, mask="data:image/png;base64," + as_text(mask))["id"]
    for job in (again, inpainted, kept):
        tiny_server.done(job)
    image = ImageToImage.sharing(pipe)(PROMPT, source, strength=0.5, steps=4, seed=3).images[0]
    np.testing.assert_array_equal(pixels(tiny_server.image(again)), np.asarray(image))
    painted = np.asarray(Inpaint.sharing(pipe)(PROMPT, source, mask, steps=4, seed=3).images[0])
    np.testing.assert_array_equal(pixels(tiny_server.image(inpainted)), painted)
    found = pixels(tiny_server.image(kept))
    np.testing.assert_array_equal(found[:, :8], painted[:, :8])
    np.testing.assert_array_equal(found[:, 8:], np.asarray(source)[:, 8:])


def test_events_tell_a_job_from_the_queue_to_its_images(fake: Live, maker: FakeMaker) -> None:
    maker.hold = True
    job = fake.job(steps=3)["id"]
    with fake.client.stream("GET", f"/api/v1/jobs/{job}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        told = events(stream.iter_lines())
        first = next(told)
        assert first[0] in ("queued", "loading", "generating")
        maker.go.set()
        rest = list(told)
    names = [name for name, _, _ in rest]
    assert names[-2:] == ["decoding", "done"]
    progress = [data for name, data, _ in rest if name == "progress"]
    assert [(one["step"], one["steps"]) for one in progress] == [(1, 3), (2, 3), (3, 3)]
    previews = [data for name, data, _ in rest if name == "preview"]
    assert previews and Image.open(io.BytesIO(base64.b64decode(previews[0]["webp"]))).format == "WEBP"
    numbers = [number for name, _, number in rest if number is not None]
    assert numbers == sorted(set(numbers))
    assert {data["id"] for name, data, _ in rest if name != "model"} == {job}


def since(server: Live, after: int, last: str, job: str | None = None) -> list[tuple[str, Any, int]]:
    """What a reader that has seen the event `after` is told up to a `last` one, of a job where one is named."""
    told: list[tuple[str, Any, int]] = []
    with server.client.stream("GET", "/api/v1/events", headers={"Last-Event-ID": str(after)}) as stream:
        for name, data, number in events(stream.iter_lines()):
            if number is not None:
                told.append((name, data, number))
            if name == last and job in (None, data["id"]):
                return told
    raise AssertionError(told)


def test_a_stream_that_was_cut_goes_on_where_it_was(fake: Live, maker: FakeMaker) -> None:
    job = fake.job(steps=4)["id"]
    fake.done(job)
    with fake.client.stream("GET", f"/api/v1/jobs/{job}/events") as stream:
        assert [name for name, _, _ in events(stream.iter_lines())] == ["done"]
    maker.hold = True
    running = fake.job(steps=4)["id"]
    fake.until(running, "generating")
    before = since(fake, 0, "generating")
    assert [name for name, data, _ in before if data.get("id") == job] == ["done"]
    cut = next(number for name, data, number in before if (name, data["id"]) == ("queued", running))
    maker.go.set()
    fake.done(other := fake.job()["id"])
    after = since(fake, cut, "done", other)
    assert [data["id"] for name, data, _ in after if name == "done"] == [running, other]
    numbers = [number for _, _, number in after]
    assert numbers == sorted(set(numbers)) and min(numbers) > cut
    odd = fake.client.get("/api/v1/events", headers={"Last-Event-ID": "x"})
    assert odd.status_code == 422


def test_a_queued_job_is_cancelled_at_once_and_a_running_one_at_its_next_step(fake: Live, maker: FakeMaker) -> None:
    maker.hold = True
    running, waiting = fake.job(steps=3)["id"], fake.job()["id"]
    fake.until(running, "generating")
    assert fake.view(waiting)["queue_position"] == 1
    assert fake.client.delete(f"/api/v1/jobs/{waiting}").status_code == 202
    assert fake.view(waiting)["status"] == "cancelled"
    assert fake.client.delete(f"/api/v1/jobs/{running}").status_code == 202
    assert fake.until(running, "cancelled", "done")["status"] == "cancelled"
    assert fake.client.delete(f"/api/v1/jobs/{running}").status_code == 409
    assert fake.client.get(f"/api/v1/jobs/{running}/images/0.png").status_code == 409
    assert [order.settings[0].seed for order in maker.made] == [1]
    maker.hold = False
    fake.done(fake.job()["id"])


def test_the_same_idempotency_key_is_the_same_job(fake: Live) -> None:
    def submit(**fields: object) -> Any:
        body = {"prompt": "a cat", **fields}
        return fake.client.post("/api/v1/jobs", json=body, headers={"Idempotency-Key": "abc"})

    first, second, other = submit(), submit(), submit(steps=3)
    assert first.json()["id"] == second.json()["id"]
    assert first.headers["location"] == f"/api/v1/jobs/{first.json()['id']}"
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_key_reused")
    for key in ("", "x" * 256):
        odd = fake.client.post("/api/v1/jobs", json={"prompt": "a cat"}, headers={"Idempotency-Key": key})
        assert (odd.status_code, odd.json()["error"]["param"]) == (422, f"Idempotency-Key has {len(key)} characters")


def test_requests_with_one_idempotency_key_that_come_at_once_are_one_job(fake: Live) -> None:
    body = {"prompt": "a cat", "image": as_text(photo(512, 512))}  # looked at in another thread
    ready = threading.Barrier(8)

    def submit(_number: int) -> Any:
        with httpx2.Client(base_url=fake.url, timeout=WAIT_S, verify=False) as client:
            ready.wait()
            return client.post("/api/v1/jobs", json=body, headers={"Idempotency-Key": "abc"}).json()["id"]

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(submit, range(8)))) == 1


def test_jobs_are_listed_by_state(fake: Live, maker: FakeMaker) -> None:
    done = fake.job()["id"]
    fake.done(done)
    maker.hold = True
    fake.job()
    for status, count in (("done", 1), ("cancelled", 0), (None, 2)):
        answer = fake.client.get("/api/v1/jobs", params={} if status is None else {"status": status})
        assert len(answer.json()["jobs"]) == count
    assert fake.client.get("/api/v1/jobs", params={"status": "asleep"}).status_code == 422
    assert fake.client.get("/api/v1/jobs", params={"limit": "1"}).json()["jobs"][0]["id"] != done
    for limit in ("²", "-1", "9" * 5000):
        assert fake.client.get("/api/v1/jobs", params={"limit": limit}).status_code == 422


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ({}, "prompt"),
        ({"prompt": 3}, "prompt"),
        ({"prompt": "a", "surprise": 1}, "surprise"),
        ({"prompt": "a", "loras": [{"name": "style", "scale": 101}]}, "loras[0].scale"),
        ({"prompt": "a", "loras": [{"name": "style"}, {"name": "style"}]}, "loras"),
        ({"prompt": "a", "loras": [{"name": "style"}]}, "the live adapter 'style'"),
        ({"prompt": "a", "original_size": [64]}, "original_size"),
        ({"prompt": "a", "original_size": [64, 64]}, None),
        ({"prompt": "a", "steps": 0}, "steps"),
        ({"prompt": "a", "steps": 151}, "steps"),
        ({"prompt": "a", "seed": -1}, "seed"),
        ({"prompt": "a", "seed": 2**64}, "seed"),
        ({"prompt": "a", "width": 4096}, "width"),
        ({"prompt": "a", "width": 17}, None),
        ({"prompt": "a", "scheduler": "magic"}, "scheduler"),
        ({"prompt": "a", "scheduler": "lcm", "schedule": "karras"}, None),
        ({"prompt": "a", "scheduler": "euler", "eta": 0.5}, None),
        ({"prompt": "a", "cache_interval": 0}, "cache_interval"),
        ({"prompt": "a", "cache_interval": 2}, "cache_interval"),
        ({"prompt": "a", "count": 17}, "the number of images"),
        ({"prompt": "a", "strength": 0.5}, "mask and strength need an image to start from"),
        ({"prompt": "a", "image": "http://127.0.0.1:1/x.png"}, "image"),
        ({"prompt": "a", "image": "file:///etc/passwd"}, "image"),
        ({"prompt": "a", "image": "aGFsbG8="}, None),
        ({"prompt": "a" * 8001}, "prompt has 8001 characters"),
        ({"prompt": "(a:b", "prompt_syntax": "weighted", "guidance_interval": [0.5]}, "guidance_interval"),
        ({"prompt": "[a:b:0.5]", "prompt_syntax": "weighted"}, None),
        ([], "the body"),
    ],
)
def test_what_cannot_be_generated_is_refused_before_it_is_queued(
    tiny_server: Live, body: Any, what: str | None
) -> None:
    answer = tiny_server.client.post("/api/v1/jobs", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (422, "invalid_request", what)
    assert error["message"] and "\n" not in error["message"]


def test_an_unknown_model_and_an_unknown_job_are_not_found(fake: Live) -> None:
    answer = fake.client.post("/api/v1/jobs", json={"prompt": "a", "model": "../tiny"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    for path in ("/api/v1/jobs/none", "/api/v1/jobs/none/events", "/api/v1/jobs/none/preview.webp", "/api/v1/none"):
        assert fake.client.get(path).status_code == 404


def test_a_worker_refuses_breaks_and_goes_on(fake: Live) -> None:
    for prompt, code in (("refuse", "refused"), ("break", "crashed")):
        view = fake.until(fake.job(prompt=prompt)["id"], "failed")
        assert (view["code"], view["images"]) == (code, [])
        assert view["reason"]
    assert colour_of(fake.image(fake.done(fake.job(seed=300)["id"])["id"])) == colour(300)


def test_a_full_disk_fails_the_job_and_the_next_one_works(fake: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_content: bytes) -> object:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(fake.built.studio.spool, "put", full)
        view = fake.until(fake.job(partials=1)["id"], "failed")
        assert (view["code"], view["images"], "No space left" in view["reason"]) == ("crashed", [], True)
    assert colour_of(fake.image(fake.done(fake.job(seed=300)["id"])["id"])) == colour(300)


def test_a_model_that_cannot_be_loaded_fails_its_job_and_is_not_ready(bundles: Path) -> None:
    with live(bundles, lambda: FakeMaker(load_fails="the CPU lacks something")) as server:
        view = server.until(server.job()["id"], "failed")
        assert (view["code"], "the CPU lacks something" in view["reason"]) == ("load", True)
        assert server.client.get("/readyz").status_code == 503
        assert server.client.get("/healthz").status_code == 200


@pytest.fixture
def short(bundles: Path, maker: FakeMaker) -> Iterator[Live]:
    from mezzotint.serve.jobs.limits import QueueLimits

    with live(bundles, lambda: maker, queue=QueueLimits(pending=2, result_s=0.0)) as server:
        yield server


def test_a_full_queue_says_when_to_come_again_and_results_go_after_a_while(short: Live, maker: FakeMaker) -> None:
    maker.hold = True
    first = short.job()["id"]
    short.job()
    answer = short.client.post("/api/v1/jobs", json={"prompt": "a"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert 1 <= int(answer.headers["retry-after"]) <= 120
    maker.go.set()
    gone = wait_until(lambda: short.client.get(f"/api/v1/jobs/{first}"), lambda answer: answer.status_code != 200)
    assert gone.status_code == 410
    assert short.client.get(f"/api/v1/jobs/{first[::-1]}").status_code == 404


def test_capabilities_tokens_and_settings_of_images(tiny_server: Live) -> None:
    said = tiny_server.client.get("/api/v1/capabilities").json()
    (model,) = said["models"]
    assert (said["default_model"], model["id"], model["size"]) == ("tiny", "tiny", {"native": 16, "multiple_of": 2})
    assert model["fidelity"]["components"]["unet"]["sqnr_db"] > 60
    assert "ddim" in model["samplers"] and model["features"] == {"text": True, "image": True, "inpaint": True}
    counted = tiny_server.client.post("/api/v1/tokens", json={"prompt": "a red apple"}).json()
    assert (counted["window"], counted["tokens"] > 0) == (30, True)
    job = tiny_server.job(prompt=PROMPT, steps=1)["id"]
    tiny_server.done(job)
    image = base64.b64encode(tiny_server.image(job)).decode()
    read = tiny_server.client.post("/api/v1/settings", json={"image": image}).json()
    assert (read["settings"]["prompt"], read["settings"]["seed"]) == (PROMPT, 1)
    assert read["parameters"].startswith(PROMPT)
    other = tiny_server.client.post("/api/v1/settings", json={"image": as_text(photo(8, 8))}).json()
    assert (other["settings"], other["parameters"]) == (None, None)


def test_models_are_loaded_and_unloaded_on_request(fake: Live) -> None:
    def state() -> str:
        return str(fake.client.get("/api/v1/capabilities").json()["models"][0]["state"])

    assert state() == "asleep"
    assert fake.client.post("/api/v1/models/tiny/load").status_code == 202
    wait_until(state, lambda seen: seen == "loaded")
    assert fake.client.post("/api/v1/models/tiny/unload").status_code == 202
    wait_until(state, lambda seen: seen == "asleep")
    fake.done(fake.job()["id"])
    assert state() == "loaded"


def test_models_are_chosen_by_request_and_make_room_for_each_other(tiny_bundle: Bundle, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).symlink_to(tiny_bundle.path, target_is_directory=True)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "mezzotint.json").write_text("{}")
    with live(tmp_path, FakeMaker, memory_megabytes=200) as server:

        def states() -> dict[str, str]:
            models = server.client.get("/api/v1/capabilities").json()["models"]
            return {model["id"]: model["state"] for model in models}

        for name, other in (("two", "one"), ("one", "two"), ("two", "one")):
            view = server.done(server.job(model=name)["id"])
            assert view["model"] == name
            assert wait_until(states, lambda seen: "asleep" in seen.values()) == {name: "loaded", other: "asleep"}
        assert list(server.client.get("/api/v1/capabilities").json()["broken_models"]) == ["broken"]
    with live(tmp_path, FakeMaker, memory_megabytes=1) as server:
        view = server.until(server.job(model="one")["id"], "failed", "done")
        assert (view["code"], "--memory" in view["reason"]) == ("load", True)
