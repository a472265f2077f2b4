"""``workbench explore``: look at the tokens of stores in the browser."""

from __future__ import annotations

import webbrowser
from dataclasses import dataclass

import tyro

import feature_store
from feature_store import InputError
from workbench.pictures.notebook import server_module
from workbench.results import strict_json
from workbench.results.messages import show


@dataclass(frozen=True, kw_only=True)
class Explore:
    """Serve one local page: token maps, similar tokens, losses, the dataset as a scatter.

    Prints the page's address and serves until it is interrupted. Nothing leaves this machine, and
    stores are only read.

    Examples
    --------
    workbench explore train.zarr
    """

    stores: tyro.conf.Positional[tuple[str, ...]]
    """Folders or URLs of stores."""
    port: int = 5010
    """Port of 127.0.0.1; 0 chooses a free one."""
    no_browser: bool = False
    """Do not open a browser."""
    json: bool = False
    """Print the address as one JSON object."""

    def run(self) -> int:
        server = server_module()
        if not self.stores:
            raise InputError("name at least one store")
        if not 0 <= self.port < 65536:
            raise InputError(f"--port is {self.port}; expected 0 to 65535")
        serving = server.start([feature_store.open(path) for path in self.stores], self.port)
        address = server.address(serving)
        show(strict_json.dumps({"address": address}) if self.json else address)
        if not self.no_browser:
            webbrowser.open(address)
        try:
            serving.io_loop.start()
        except KeyboardInterrupt:
            pass
        finally:
            serving.stop()
        return 0
