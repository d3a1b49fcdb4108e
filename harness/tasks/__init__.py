"""Read tasks: queries, corpus and qrels under one name.

In: a name (a catalogue task, a folder, a hub data set, `stdlib-code`) and options for reading it.
Out: `find_tasks` returns references; `load` of each reads the files, checks them and returns a
`Task`. Other folders also use the rules for lines, ids and texts of files from here.
"""

from __future__ import annotations

from .catalog import MTEB, MTEB_KINDS, catalogue, collections, sets
from .files import parse_json, read_lines, split_fields
from .find import find_tasks, load_task
from .ids import (
    MISMATCH_LIMIT,
    check_query_ids,
    first_duplicate,
    is_number,
    mismatch,
    parse_id,
    parse_whole_number,
)
from .languages import TWO_LETTERS, mteb_language
from .mteb import require_mteb
from .table import replace_unreadable
from .task import (
    CANDIDATES,
    MAIN_MEASURE,
    MODELSCOPE,
    Note,
    RankedLists,
    Source,
    Task,
    TaskOptions,
    in_hash_order,
)

__all__ = [
    "CANDIDATES", "MAIN_MEASURE", "MISMATCH_LIMIT", "MODELSCOPE", "MTEB", "MTEB_KINDS",
    "TWO_LETTERS", "Note", "RankedLists", "Source", "Task", "TaskOptions", "catalogue",
    "check_query_ids", "collections", "find_tasks", "first_duplicate", "in_hash_order", "is_number",
    "load_task", "mismatch", "mteb_language", "parse_id", "parse_json", "parse_whole_number",
    "read_lines", "replace_unreadable", "require_mteb", "sets", "split_fields",
]  # fmt: skip
