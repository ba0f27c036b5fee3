"""The lake: records as Delta tables, read by SQL; README.md beside this says how."""

from typing import TYPE_CHECKING

from trimtab.foundations.lazy import lazily

if TYPE_CHECKING:
    from trimtab.controlplane.lake.adapters.delta import Table
    from trimtab.controlplane.lake.adapters.duck import Answer, ask
    from trimtab.controlplane.lake.base import LakeError, Mark, NoLakeError, Place, Size, need_libraries
    from trimtab.controlplane.lake.intake import Ingested, ingest
    from trimtab.controlplane.lake.schema import Column, columns
    from trimtab.controlplane.lake.upkeep import Compacted, compact, erase

__getattr__ = lazily(
    __name__,
    {
        "Answer": "adapters.duck",
        "Column": "schema",
        "Compacted": "upkeep",
        "Ingested": "intake",
        "LakeError": "base",
        "Mark": "base",
        "NoLakeError": "base",
        "Place": "base",
        "Size": "base",
        "Table": "adapters.delta",
        "ask": "adapters.duck",
        "columns": "schema",
        "compact": "upkeep",
        "erase": "upkeep",
        "ingest": "intake",
        "need_libraries": "base",
    },
)

__all__ = [
    "Answer",
    "Column",
    "Compacted",
    "Ingested",
    "LakeError",
    "Mark",
    "NoLakeError",
    "Place",
    "Size",
    "Table",
    "ask",
    "columns",
    "compact",
    "erase",
    "ingest",
    "need_libraries",
]
