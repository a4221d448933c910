"""What there is: models, samplers, options; and, as empty lists, what there is not. Clients read it at their start."""

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from mezzotint.errors import MezzotintError
from mezzotint.runtime.images.embedded_text import embedded_texts
from mezzotint.runtime.images.files import open_image

from ..fields.bounds import bounded
from ..fields.read import read_fields
from ..models.model import Model
from ..web.answers import owner_of
from ..web.body import read_json
from ..web.front import Front
from ..web.operation import Handler, Operation
from ..web.uploads import checked_image, decode_base64
from ..work.resident import resident_bytes
from .generation_api import TAG
from .infotext import parse_infotext
from .names import LABELS, SAMPLERS
from .options import Options

_EMPTY: Final[dict[str, Any]] = {
    "sd-vae": [],
    "sd-modules": [],
    "upscalers": [],
    "latent-upscale-modes": [],
    "embeddings": {"loaded": {}, "skipped": {}},
    "hypernetworks": [],
    "face-restorers": [],
    "prompt-styles": [],
    "scripts": {"txt2img": [], "img2img": []},
    "script-info": [],
    "extensions": [],
    "cmd-flags": {"api": True},
}
_NO_MODEL: Final = {404: "There is no such model."}


@dataclass(frozen=True, kw_only=True)
class PngInfoRequest:
    """An image to look into."""

    image: str = bounded("", about="In base64.")


@dataclass(frozen=True)
class ListsApi:
    """The handlers."""

    front: Front
    options: Options

    def operations(self) -> list[Operation]:
        """Every operation."""

        def get(path: str, handler: Handler, summary: str) -> Operation:
            return Operation(method="GET", path=path, handler=handler, summary=summary, tag=TAG)

        def post(name: str, handler: Handler, summary: str, **more: Any) -> Operation:
            return Operation(method="POST", path=f"/sdapi/v1/{name}", handler=handler, summary=summary, tag=TAG, **more)

        return [
            get("/sdapi/v1/sd-models", self.models, "Models."),
            get("/sdapi/v1/samplers", self.samplers, "Samplers."),
            get("/sdapi/v1/schedulers", self.schedulers, "Schedules."),
            get("/sdapi/v1/options", self.show_options, "Options."),
            get("/sdapi/v1/memory", self.memory, "Memory."),
            get("/sdapi/v1/loras", self.loras, "Live adapters of the model."),
            *(get(f"/sdapi/v1/{name}", _answering(data), "What there is not.") for name, data in _EMPTY.items()),
            get("/internal/ping", _answering({}), "Whether it is there."),
            get("/docs", _to_document, "Where the API is told."),
            post("options", self.set_options, "Set options.", more=_NO_MODEL),
            post("png-info", self.png_info, "Read an image's settings.", body=PngInfoRequest, takes_unknown=True),
            post("refresh-checkpoints", self.refresh, "Look for models again."),
            post("unload-checkpoint", self.unload, "Free the model's memory."),
            post("reload-checkpoint", self.reload, "Load the model."),
        ]

    async def models(self, _request: Request) -> Response:
        """Names of files are relative."""
        return JSONResponse([_listed(model) for model in self.front.studio.registry.models.values()])

    async def samplers(self, _request: Request) -> Response:
        """Those that we have, by their names."""
        return JSONResponse([{"name": name, "aliases": [ours], "options": {}} for name, ours in SAMPLERS.items()])

    async def schedulers(self, _request: Request) -> Response:
        """The same of schedules."""
        entries = [
            {
                "name": name,
                "label": label,
                "aliases": None,
                "default_rho": 7.0 if name == "karras" else -1,
                "need_inner_model": False,
            }
            for name, label in LABELS.items()
        ]
        return JSONResponse(entries)

    async def show_options(self, request: Request) -> Response:
        """Of this key."""
        return JSONResponse(self.options.shown(owner_of(request), self.front.studio.registry))

    async def set_options(self, request: Request) -> Response:
        """Takes all that `show_options` gives, and more."""
        given = await read_json(request, self.front.limits)
        if not isinstance(given, dict):
            raise MezzotintError(what="the body", got=given, expected="an object")
        self.options.set(owner_of(request), given, self.front.studio.registry)
        return JSONResponse(None)

    async def png_info(self, request: Request) -> Response:
        """The text, other chunks, and the text parsed."""
        asked = read_fields(PngInfoRequest, await read_json(request, self.front.limits), ignores_unknown=True)
        if not asked.image.strip():
            return JSONResponse({"info": "", "items": {}, "parameters": {}})
        content, _, _ = await checked_image(decode_base64(asked.image, "image"), "image", self.front.limits)
        with open_image(content) as image:
            texts = embedded_texts(image)
        info = texts.pop("parameters", "")
        return JSONResponse({"info": info, "items": texts, "parameters": parse_infotext(info) if info else {}})

    async def refresh(self, _request: Request) -> Response:
        """Bundles that appeared or went."""
        self.front.studio.registry = await asyncio.to_thread(self.front.rescan)
        return JSONResponse(None)

    async def unload(self, request: Request) -> Response:
        """At once where idle, after the running job where not."""
        self.front.studio.unload(self._model(request).name)
        return JSONResponse({})

    async def reload(self, request: Request) -> Response:
        """Returns before it is loaded."""
        self.front.studio.load(self._model(request).name)
        return JSONResponse({})

    async def loras(self, request: Request) -> Response:
        """Those that prompts may name."""
        live = self._model(request).bundle.manifest.live
        return JSONResponse([{"name": one.name, "alias": one.name, "path": one.name, "metadata": {}} for one in live])

    async def memory(self, _request: Request) -> Response:
        """Of the front and all workers."""
        used = resident_bytes() + sum(slot.resident_bytes for slot in self.front.studio.slots)
        return JSONResponse({"ram": {"free": 0, "used": used, "total": used}, "cuda": {"error": "no GPU is used"}})

    def _model(self, request: Request) -> Model:
        return self.front.studio.registry.find(self.options.of(owner_of(request)).model)


def _listed(model: Model) -> dict[str, Any]:
    return {
        "title": model.title,
        "model_name": model.name,
        "hash": model.short_hash,
        "sha256": model.bundle.manifest.source.sha256,
        "filename": model.name,
        "config": None,
    }


def _answering(data: Any) -> Handler:
    async def answer(_request: Request) -> Response:
        return JSONResponse(data)

    return answer


async def _to_document(_request: Request) -> Response:
    """Users open /docs to see whether the API is on."""
    return RedirectResponse("/openapi.json")
