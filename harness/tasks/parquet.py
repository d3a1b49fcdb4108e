"""Open parquet files, and say how much they hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import BadData


@contextmanager
def open_parquet(file: Path) -> Iterator[Any]:
    """Open a parquet file; raise BadData if it cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        yield pq.ParquetFile(file)
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise BadData(f"{file} cannot be read as parquet: {reason}") from error


def uncompressed_bytes(file: Path) -> int:
    """Return the bytes of all columns before compression; raise BadData if it cannot be read."""
    with open_parquet(file) as parquet:
        groups = range(parquet.metadata.num_row_groups)
        return sum(parquet.metadata.row_group(n).total_byte_size for n in groups)
