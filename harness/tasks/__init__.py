"""Where tasks come from: hub and local Nano data sets, BEIR folders, the standard library.

`find_tasks(name)` says which tasks a name means; each is read when its `load` is called.
"""

from __future__ import annotations

from .catalog import CatalogueEntry, catalogue
from .find import find_tasks, load_task
from .lines import fields, is_number, parse_json, read_lines, repeated, whole_number
from .matching import CURE, SHARE, examples
from .tables import as_id
from .task import NoLists, Note, Shipped, Source, Task, TaskOptions, TaskRef
from .texts import readable

__all__ = [
    "CURE",
    "SHARE",
    "CatalogueEntry",
    "NoLists",
    "Note",
    "Shipped",
    "Source",
    "Task",
    "TaskOptions",
    "TaskRef",
    "as_id",
    "catalogue",
    "examples",
    "fields",
    "find_tasks",
    "is_number",
    "load_task",
    "parse_json",
    "read_lines",
    "readable",
    "repeated",
    "whole_number",
]
