"""``workbench upgrade``: bring a store to the present version of the protocol."""

from __future__ import annotations

from dataclasses import dataclass

import tyro

import feature_store
from feature_store import protocol
from feature_store.upgrade import upgrade
from workbench.results.messages import note


@dataclass(frozen=True, kw_only=True)
class Upgrade:
    """Add to a store of an older protocol version what the present one records.

    Checksums over all metadata are added; features are neither read nor written. `workbench
    extract` upgrades the store that it writes to.

    Examples
    --------
    workbench upgrade old/train.zarr
    """

    store: tyro.conf.Positional[str]
    """Folder or URL of the store."""

    def run(self) -> int:
        store = feature_store.open(self.store)
        if store.version == protocol.VERSION:
            note(f"{store.path} has protocol version {store.version} already")
            return 0
        upgrade(store)
        note(f"{store.path}: protocol version {store.version} is now {protocol.VERSION}")
        return 0
