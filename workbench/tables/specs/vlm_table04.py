"""VLM encoders, Table 4: Vicuna-7B on LAION-400M."""

from __future__ import annotations

from workbench.tables.specs.vlm_common import table

TABLE = table(4, "Vicuna-7B", "LAION-400M")
