"""Where tasks come from: hub and local Nano data sets, BEIR folders, the standard library.

`find_tasks(name)` says which tasks a name means; each is read when its `load` is called.
"""

from __future__ import annotations

from .catalog import CatalogueEntry, catalogue
from .find import find_tasks
from .task import NoLists, Note, Shipped, Source, Task, TaskOptions, TaskRef

__all__ = [
    "CatalogueEntry",
    "NoLists",
    "Note",
    "Shipped",
    "Source",
    "Task",
    "TaskOptions",
    "TaskRef",
    "catalogue",
    "find_tasks",
]
