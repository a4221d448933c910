"""OpenAI's images API through the official client, against the runtime's own images."""

import base64
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import openai
import pytest
from PIL import Image

from mezzotint.runtime import Bundle, ImageToImage, Inpaint, TextToImage
from tests.runtime.test_image_to_image import photo
from tests.serve.fakes import FakeMaker, colour, colour_of
from tests.serve.live import Live, live, wait_until

PROMPT = "a red apple"
EXTRA = {"seed": 4, "num_inference_steps": 4, "guidance_scale": 6.0}


@pytest.fixture(scope="module")
def pipe(tiny_bundle: Bundle) -> TextToImage:
    return TextToImage.load(tiny_bundle.path, backend="onnxruntime", threads=1)


OPENED: list[openai.OpenAI] = []


@pytest.fixture(autouse=True)
def closed_clients() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


def client(server: Live, **options: Any) -> openai.OpenAI:
    OPENED.append(openai.OpenAI(base_url=f"{server.url}/v1", **{"api_key": "none", "max_retries": 0, **options}))
    return OPENED[-1]


def pixels(text: str | None) -> Any:
    with Image.open(io.BytesIO(base64.b64decode(text or ""))) as image:
        return np.asarray(image.convert("RGB"))


def as_file(image: Image.Image) -> tuple[str, bytes, str]:
    content = io.BytesIO()
    image.save(content, format="PNG")
    return ("image.png", content.getvalue(), "image/png")


def test_generations(tiny_server: Live, pipe: TextToImage) -> None:
    answer = client(tiny_server).images.generate(prompt=PROMPT, n=2, size="16x16", extra_body=EXTRA)
    expected = pipe(PROMPT, seed=4, steps=4, guidance=6.0, count=2)
    assert answer.data is not None and len(answer.data) == 2
    for one, image in zip(answer.data, expected.images, strict=True):
        np.testing.assert_array_equal(pixels(one.b64_json), np.asarray(image))
    assert (answer.size, answer.output_format) == ("16x16", "png")
    assert answer.usage is not None and answer.usage.input_tokens > 0


def test_an_image_by_url_is_fetched_from_the_server_itself(tiny_server: Live) -> None:
    answer = client(tiny_server).images.generate(prompt=PROMPT, response_format="url", extra_body=EXTRA)
    assert answer.data is not None and answer.data[0].url is not None
    assert answer.data[0].url.startswith(f"{tiny_server.url}/files/")
    assert Image.open(io.BytesIO(tiny_server.client.get(answer.data[0].url).content)).size == (16, 16)
    assert tiny_server.client.get("/files/" + "0" * 32 + ".png").status_code == 404


def test_edits(tiny_server: Live, pipe: TextToImage) -> None:
    source = photo(16, 16)
    answer = client(tiny_server).images.edit(
        image=as_file(source), prompt=PROMPT, extra_body={**EXTRA, "strength": 0.5}
    )
    expected = ImageToImage.sharing(pipe)(PROMPT, source, strength=0.5, seed=4, steps=4, guidance=6.0).images[0]
    assert answer.data is not None
    np.testing.assert_array_equal(pixels(answer.data[0].b64_json), np.asarray(expected))


@pytest.mark.parametrize("kind", ["transparent", "white"])
def test_edits_with_either_kind_of_mask(tiny_server: Live, pipe: TextToImage, kind: str) -> None:
    source, white = photo(16, 16), Image.new("L", (16, 16))
    white.paste(255, (0, 0, 8, 16))
    mask = white
    if kind == "transparent":
        mask = Image.new("RGBA", (16, 16), (0, 0, 0, 255))
        mask.paste((0, 0, 0, 0), (0, 0, 8, 16))
    answer = client(tiny_server).images.edit(
        image=[as_file(source)], mask=as_file(mask), prompt=PROMPT, extra_body=EXTRA
    )
    painted = np.asarray(Inpaint.sharing(pipe)(PROMPT, source, white, seed=4, steps=4, guidance=6.0).images[0])
    assert answer.data is not None
    found = pixels(answer.data[0].b64_json)
    np.testing.assert_array_equal(found[:, :8], painted[:, :8])
    np.testing.assert_array_equal(found[:, 8:], np.asarray(source)[:, 8:])


def test_a_mask_that_says_two_things_is_refused(tiny_server: Live) -> None:
    mask = Image.new("RGBA", (16, 16), (0, 0, 0, 255))
    mask.paste((255, 255, 255, 255), (8, 0, 16, 16))
    mask.paste((0, 0, 0, 0), (0, 0, 4, 16))
    with pytest.raises(openai.BadRequestError):
        client(tiny_server).images.edit(image=as_file(photo(16, 16)), mask=as_file(mask), prompt=PROMPT)


def test_partial_images_are_streamed_as_they_come(tiny_server: Live, pipe: TextToImage) -> None:
    stream = client(tiny_server).images.generate(
        prompt=PROMPT, stream=True, partial_images=2, extra_body={**EXTRA, "num_inference_steps": 6}
    )
    told: list[Any] = list(stream)
    assert [one.type for one in told] == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    assert [one.partial_image_index for one in told[:2]] == [0, 1]
    steps: list[Any] = []
    whole = pipe(PROMPT, seed=4, steps=6, guidance=6.0, on_step=steps.append)
    np.testing.assert_array_equal(pixels(told[2].b64_json), np.asarray(whole.images[0]))
    for one, step in zip(told[:2], (steps[1], steps[3]), strict=True):
        exact = np.rint(pipe.decode(step.denoised)[0] * 255).astype(np.uint8)
        np.testing.assert_array_equal(pixels(one.b64_json), exact)


def test_edits_are_streamed_by_their_own_names(tiny_server: Live) -> None:
    stream = client(tiny_server).images.edit(
        image=as_file(photo(16, 16)), prompt=PROMPT, stream=True, partial_images=1, extra_body=EXTRA
    )
    assert [one.type for one in stream] == ["image_edit.partial_image", "image_edit.completed"]


def test_a_failure_in_a_stream_is_an_error(fake: Live) -> None:
    with pytest.raises(openai.APIError):
        list(client(fake).images.generate(prompt="break", stream=True))


def test_a_client_that_leaves_a_stream_cancels_its_job(fake: Live, maker: FakeMaker) -> None:
    maker.hold = True
    stream = client(fake).images.generate(prompt=PROMPT, stream=True, partial_images=3)
    (job,) = wait_until(lambda: fake.client.get("/api/v1/jobs").json()["jobs"], bool)
    fake.until(job["id"], "generating")
    stream.close()
    assert fake.until(job["id"], "cancelled", "done")["status"] == "cancelled"


def test_models_and_errors(fake: Live) -> None:
    api = client(fake)
    assert [model.id for model in api.models.list()] == ["tiny"]
    assert api.models.retrieve("tiny").owned_by == "mezzotint"
    with pytest.raises(openai.NotFoundError) as unknown:
        api.images.generate(prompt=PROMPT, model="gpt-image-1")
    assert unknown.value.code == "model_not_found"
    for fields in ({"size": "huge"}, {"n": 11}, {"extra_body": {"num_inference_steps": 0}}):
        with pytest.raises(openai.BadRequestError) as caught:
            api.images.generate(prompt=PROMPT, **fields)
        assert caught.value.type == "invalid_request_error"
    with pytest.raises(openai.BadRequestError):
        api.images.edit(image=("a.png", b"no image", "image/png"), prompt=PROMPT)


def test_a_full_queue_is_retried_by_the_client(bundles: Any, maker: FakeMaker) -> None:
    from mezzotint.serve.jobs.limits import QueueLimits

    maker.hold = True
    with live(bundles, lambda: maker, queue=QueueLimits(pending=1)) as server:
        job = server.job()["id"]
        with pytest.raises(openai.RateLimitError) as caught:
            client(server).images.generate(prompt=PROMPT)
        assert int(caught.value.response.headers["retry-after"]) >= 1
        maker.go.set()
        server.done(job)
        answer = client(server, max_retries=2).images.generate(prompt=PROMPT, extra_body={"seed": 77})
        assert answer.data is not None
        assert colour_of(base64.b64decode(answer.data[0].b64_json or "")) == colour(77)


def test_a_client_that_gives_up_cancels_its_job(fake: Live, maker: FakeMaker) -> None:
    maker.hold = True
    with pytest.raises(openai.APITimeoutError):
        client(fake, timeout=1.0).images.generate(prompt=PROMPT)
    (job,) = fake.client.get("/api/v1/jobs").json()["jobs"]
    assert fake.until(job["id"], "cancelled", "done")["status"] == "cancelled"


def test_a_request_that_waits_too_long_names_its_job(bundles: Any, maker: FakeMaker) -> None:
    from mezzotint.serve.web.limits import RequestLimits

    maker.hold = True
    with live(bundles, lambda: maker, limits=RequestLimits(wait_s=1.0)) as server:
        answer = server.client.post("/v1/images/generations", json={"prompt": PROMPT, "seed": 9})
        assert (answer.status_code, answer.headers["x-should-retry"]) == (504, "false")
        maker.go.set()
        job = answer.headers["x-job-id"]
        server.done(job)
        assert colour_of(server.image(job)) == colour(9)
