"""VLM encoders, Table 3: Vicuna-13B on CC12M."""

from __future__ import annotations

from workbench.tables.specs.vlm_common import table

TABLE = table(3, "Vicuna-13B", "CC12M")
