"""Show the page of ``workbench explore`` in a notebook."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import feature_store
from feature_store import FeatureStore, InputError

if TYPE_CHECKING:
    from bokeh.server.server import Server

HEIGHT = 900
"""Pixels of the frame in the notebook."""


@dataclass
class Explorer:
    """A served page, shown as the value of a cell. It runs until `stop` or the process's end."""

    address: str
    """URL of the page, for any browser on this machine."""
    _server: Server = field(repr=False)

    def stop(self) -> None:
        """Stop serving."""
        loop = self._server.io_loop
        loop.add_callback(self._server.stop)
        loop.add_callback(loop.stop)

    def _repr_html_(self) -> str:
        address = escape(self.address)
        return (
            f'<a href="{address}" target="_blank">{address}</a>'
            f'<iframe title="tokens" src="{address}" width="100%" height="{HEIGHT}" '
            f'style="border:0"></iframe>'
        )


def explore(*stores: FeatureStore | str | Path, port: int = 0) -> Explorer:
    """Look at the tokens of one or more stores, in the notebook or in the browser.

    A thread of this process serves the page on 127.0.0.1; stores are only read. Port 0 chooses a
    free one. If the notebook runs on another machine, forward the port to yours
    (``ssh -L 5010:127.0.0.1:5010``).

    Raises
    ------
    InputError
        Bokeh is not installed, the port is taken, or a store has no source with maps.

    Examples
    --------
    >>> import workbench                                                     # doctest: +SKIP
    >>> workbench.explore("runs/demo/train.zarr")                            # doctest: +SKIP
    """
    opened = [s if isinstance(s, FeatureStore) else feature_store.open(s) for s in stores]
    served: list[Server | BaseException] = []
    ready = threading.Event()
    threading.Thread(target=_serve, args=(opened, port, served, ready), daemon=True).start()
    ready.wait()
    (found,) = served
    if isinstance(found, BaseException):
        raise found
    return Explorer(server_module().address(found), found)


def server_module() -> ModuleType:
    """The module that serves the page.

    Raises
    ------
    InputError
        Bokeh, which it needs, is not installed.
    """
    try:
        from workbench.pictures import server
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] != "bokeh":
            raise
        raise InputError(
            "the page needs Bokeh; run 'bash scripts/setup.sh explore' in the clone, or draw still "
            "pictures with workbench look"
        ) from error
    return server


def _serve(stores: Sequence[FeatureStore], port: int, served: list, ready: threading.Event) -> None:
    """Serve in this thread with a new event loop."""
    asyncio.set_event_loop(asyncio.new_event_loop())
    try:
        server = server_module().start(stores, port)
    except BaseException as error:
        served.append(error)
        return
    else:
        served.append(server)
    finally:
        ready.set()
    server.io_loop.start()
