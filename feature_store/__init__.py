"""Per-token features on disk: protocol, writer with commit records, lazy reader.

>>> import feature_store
>>> store = feature_store.open("train.zarr")                             # doctest: +SKIP
>>> store.features("bundled:efficientnet_lite0@1x+2x")                 # doctest: +SKIP
"""

from feature_store.errors import InputError, StoreError
from feature_store.foreign import import_features
from feature_store.source import Source
from feature_store.store import FeatureStore, create, open
from feature_store.stream import Batch

__all__ = [
    "Batch",
    "FeatureStore",
    "InputError",
    "Source",
    "StoreError",
    "create",
    "import_features",
    "open",
]
