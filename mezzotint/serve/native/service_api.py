"""The rest of `/api/v1`: what the server can do, its models, prompts' tokens, and settings that images hold."""

import asyncio
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mezzotint import __version__
from mezzotint.errors import MezzotintError
from mezzotint.runtime import read_origin, read_settings
from mezzotint.runtime.images.embedded_text import embedded_texts
from mezzotint.runtime.images.files import FORMATS, open_image
from mezzotint.runtime.noise.batch import RNGS
from mezzotint.runtime.samplers.lineup import SAMPLERS
from mezzotint.runtime.samplers.spacing import SPACINGS
from mezzotint.runtime.text.encoding import PROMPT_SYNTAXES

from ..a1111.infotext import settings_of
from ..fields.bounds import bounded, required
from ..models.card import model_card
from ..web.body import read_body
from ..web.front import Front
from ..web.keys import COOKIE
from ..web.operation import Operation
from ..web.refusal import Refusal
from ..web.uploads import checked_image, decode_base64

_TAG: Final = "service"
_NO_MODEL: Final = {404: "There is no such model."}


@dataclass(frozen=True, kw_only=True)
class TokensRequest:
    """A prompt to count."""

    prompt: str = required(about="The text.", longest=100_000)
    model: str | None = bounded(None, about="A model's id; null is the default.")


@dataclass(frozen=True, kw_only=True)
class ImageRequest:
    """An image to look into."""

    image: str = required(about="In base64, or as a data URL.")


@dataclass(frozen=True, kw_only=True)
class SessionRequest:
    """A key, for the page's cookie."""

    key: str = required(about="A key of the server's.", longest=4096)


@dataclass(frozen=True)
class ServiceApi:
    """The handlers."""

    front: Front

    def operations(self) -> list[Operation]:
        """Every operation on the service."""
        model = "/api/v1/models/{model}"
        return [
            Operation(
                method="GET", path="/api/v1/capabilities", handler=self.capabilities, tag=_TAG,
                summary="What the server can do, with each model's fidelity.",
            ),
            Operation(
                method="POST", path=f"{model}/load", handler=self.load, tag=_TAG, success=202, more=_NO_MODEL,
                summary="Load a model before it is asked for.",
            ),
            Operation(
                method="POST", path=f"{model}/unload", handler=self.unload, tag=_TAG, success=202, more=_NO_MODEL,
                summary="Free a model's memory.",
            ),
            Operation(
                method="POST", path="/api/v1/tokens", handler=self.tokens, tag=_TAG, body=TokensRequest,
                more=_NO_MODEL, summary="Count a prompt's tokens.",
            ),
            Operation(
                method="POST", path="/api/v1/settings", handler=self.settings, tag=_TAG, body=ImageRequest,
                summary="Read the settings that an image was generated with.",
            ),
            Operation(
                method="POST", path="/session", handler=self.session, tag=_TAG, body=SessionRequest,
                summary="Exchange a key for the page's cookie.",
            ),
        ]  # fmt: skip

    async def capabilities(self, _request: Request) -> Response:
        """Models, samplers, limits and features."""
        registry, slots = self.front.studio.registry, self.front.studio.slots
        cards = await asyncio.to_thread(
            lambda: [model_card(model, str(slots.readiness(name))) for name, model in registry.models.items()]
        )
        data: dict[str, Any] = {
            "name": self.front.name,
            "version": __version__,
            "default_model": registry.default,
            "models": cards,
            "broken_models": dict(registry.broken),
            "samplers": [sampler.name for sampler in SAMPLERS],
            "schedules": list(SPACINGS),
            "prompt_syntaxes": list(PROMPT_SYNTAXES),
            "rngs": list(RNGS),
            "formats": list(FORMATS),
            "limits": asdict(self.front.limits) | asdict(self.front.studio.plans.limits),
            "features": ["text", "image", "inpaint", "previews", "partials", "cancel", "idempotency", "resume"],
        }
        return JSONResponse(data)

    async def load(self, request: Request) -> Response:
        """202; events tell when it is there."""
        model = self.front.studio.registry.find(request.path_params["model"])
        self.front.studio.load(model.name)
        return JSONResponse({"id": model.name, "state": self.front.studio.slots.readiness(model.name)}, 202)

    async def unload(self, request: Request) -> Response:
        """202; a running job is finished before."""
        model = self.front.studio.registry.find(request.path_params["model"])
        self.front.studio.unload(model.name)
        return JSONResponse({"id": model.name, "state": self.front.studio.slots.readiness(model.name)}, 202)

    async def tokens(self, request: Request) -> Response:
        """How many there are, and how many the model reads at once."""
        asked = await read_body(request, TokensRequest, self.front.limits)
        model = self.front.studio.registry.find(asked.model)
        counts = [{"tokens": len(one.tokens(asked.prompt)), "window": one.room} for one in model.tokenizers]
        return JSONResponse(max(counts, key=lambda count: count["tokens"]) if counts else {"tokens": 0, "window": 0})

    async def settings(self, request: Request) -> Response:
        """Our settings, AUTOMATIC1111's text, and what that one suggests; null for what is not there."""
        asked = await read_body(request, ImageRequest, self.front.limits)
        content, width, height = await checked_image(decode_base64(asked.image, "image"), "image", self.front.limits)
        data: dict[str, Any] = {"width": width, "height": height, "settings": None, "origin": None}
        with suppress(MezzotintError):  # an image of others
            data["settings"] = asdict(read_settings(content))
            data["origin"] = asdict(read_origin(content))
        with open_image(content) as image:
            text = embedded_texts(image).get("parameters")
        data |= {"parameters": text, "suggested": settings_of(text) if text else None}
        return JSONResponse(data)

    async def session(self, request: Request) -> Response:
        """A cookie for the page; no script of a page can read it."""
        asked = await read_body(request, SessionRequest, self.front.limits)
        keys = self.front.keys
        name = "" if keys.is_open else keys.name_of(asked.key.encode())
        if name is None:
            self.front.studio.observer.rejected("unauthorized")
            raise Refusal(401, "unauthorized", "this key is not known")
        response = JSONResponse({"name": name})
        token = keys.begin_session(name)
        response.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=request.url.scheme == "https")
        return response
