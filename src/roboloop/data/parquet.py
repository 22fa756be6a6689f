"""Parquet files: written whole or not at all, with page checksums; read with errors that help."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from roboloop.errors import RoboloopError
from roboloop.run import atomic_path


def write_parquet(path: Path, tables: Iterable[pa.Table], split_bytes: Sequence[str] = ()) -> None:
    """Write tables of one schema to a file, a row group each.

    Args:
        path: The file.
        tables: At least one table.
        split_bytes: Columns (lists of floats) whose bytes are regrouped: they are packed better.
    """
    tables = iter(tables)
    first = next(tables)
    options: dict[str, Any] = {
        "compression": "zstd",
        "use_dictionary": False,
        "use_byte_stream_split": [f"{name}.list.element" for name in split_bytes],
        "write_page_checksum": True,
    }
    with (
        atomic_path(path) as temporary,
        pq.ParquetWriter(temporary, first.schema, **options) as writer,
    ):
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a file, or some of its columns, and check the checksums.

    Args:
        path: The file.
        columns: Which to read; None for all.

    Raises:
        RoboloopError: The file is missing, cut off or damaged, or lacks a column.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            missing = {*(columns or ())} - {*file.schema_arrow.names}
            if missing:
                raise RoboloopError(f"{path.name} has no column {sorted(missing)}", None, path)
            return file.read(None if columns is None else list(columns))
    except FileNotFoundError:
        raise RoboloopError(f"no file {path.name}", "was it left out of the copy?", path) from None
    except (pa.ArrowException, OSError) as error:
        raise RoboloopError(
            f"{path.name} cannot be read: {error}", "was it cut off while copying?", path
        ) from None
