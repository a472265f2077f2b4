"""Serve the page, its scripts and its pictures on 127.0.0.1 only."""

from __future__ import annotations

import errno
import io
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.server.server import Server
from PIL import Image
from tornado.web import HTTPError, RequestHandler

from feature_store import FeatureStore, InputError
from workbench.pictures.page import Page
from workbench.pictures.stored import StoredMaps

ADDRESS = "127.0.0.1"
WORKERS = 3
"""Background threads: one each for a search, an overlay and the scatter."""
LARGEST = 512
"""Longest side of a picture that is sent, in pixels."""
MISSING = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"><rect width="10" height="10" '
    'fill="#8888" /><path d="M2 2 8 8M8 2 2 8" stroke="#888" /></svg>'
)
"""Picture in place of a missing photograph."""


def start(stores: Sequence[FeatureStore], port: int = 0) -> Server:
    """Create a server of the page, which answers once its event loop runs; port 0 is any free one.

    Raises
    ------
    InputError
        The port is taken, or a store has no source with maps.
    """
    maps = [StoredMaps(store) for store in stores]
    for one in maps:
        if not one.sources:
            wrong = "; ".join(f"{name} {why}" for name, why in one.left_out.items())
            raise InputError(f"{one.store.path} has no maps to show ({wrong or 'no source'})")
        one.warm()
    pool = ThreadPoolExecutor(WORKERS)
    application = Application(FunctionHandler(lambda doc: Page(doc, maps, pool)))
    port = port or _free_port()
    try:
        server = Server(
            {"/": application}, address=ADDRESS, port=port,
            allow_websocket_origin=[f"{name}:{port}" for name in (ADDRESS, "localhost")],
            extra_patterns=[(r"/picture", PictureHandler, {"maps": maps})],
        )  # fmt: skip
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise InputError(
            f"port {port} of {ADDRESS} is taken, perhaps by another page; choose another with "
            f"--port"
        ) from error
    server.start()
    return server


def address(server: Server) -> str:
    """URL of the page."""
    return f"http://{ADDRESS}:{server.port}/"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        return int(probe.getsockname()[1])


class PictureHandler(RequestHandler):
    """One photograph as a JPEG, as a source's model saw it."""

    def initialize(self, maps: Sequence[StoredMaps]) -> None:
        self.maps = maps

    def get(self) -> None:
        if self.request.host.partition(":")[0] not in (ADDRESS, "localhost"):
            raise HTTPError(403)  # another host name that points to this machine
        store, source, row, side = (
            self._number(name) for name in ("store", "source", "row", "side")
        )
        if store >= len(self.maps) or source >= len(self.maps[store].sources):
            raise HTTPError(404)
        maps = self.maps[store]
        if row >= len(maps.image_ids):
            raise HTTPError(404)
        picture = maps.photograph(row, maps.sources[source])
        self.set_header("Cache-Control", "private, max-age=600")
        self.set_header("X-Content-Type-Options", "nosniff")
        if isinstance(picture, str):
            self.set_header("Content-Type", "image/svg+xml")
            self.finish(MISSING)
            return
        image, written = Image.fromarray(picture), io.BytesIO()
        image.thumbnail((min(side, LARGEST), min(side, LARGEST)))
        image.save(written, "JPEG", quality=88)
        self.set_header("Content-Type", "image/jpeg")
        self.finish(written.getvalue())

    def _number(self, name: str) -> int:
        text = self.get_query_argument(name)
        if not (text.isascii() and text.isdecimal() and len(text) < 12):
            raise HTTPError(400)
        return int(text)
