"""VLM encoders, Table 2: Vicuna-7B on CC12M."""

from __future__ import annotations

from workbench.tables.specs.vlm_common import table

TABLE = table(2, "Vicuna-7B", "CC12M")
