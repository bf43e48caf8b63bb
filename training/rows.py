"""Feature rows as the engine exported them: loading, sequences of each entity, and the split by days.

Nothing here computes a feature. The rows come from `harrier features`, so training sees what the stream sees.
"""
from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DAY_MS = 86_400_000
WINDOW = 32           # `ring` of the topology
ENTITY_TTL_DAYS = 60  # `ttl` of the topology: an entity silent for longer starts anew, as in the engine


@dataclass(frozen=True)
class Split:
    """Days of event time, as [first, last]. Between train and test all labels that training used have become known.

    The first two weeks are read but carry no loss: windows of 30 days and delayed fraud scenarios are still filling.
    """

    train: tuple[date, date] = (date(2018, 4, 15), date(2018, 7, 24))
    validation: tuple[date, date] = (date(2018, 7, 25), date(2018, 7, 31))
    test: tuple[date, date] = (date(2018, 8, 8), date(2018, 9, 30))
    handbook_week: tuple[date, date] = (date(2018, 8, 8), date(2018, 8, 14))

    def describe(self) -> dict[str, str]:
        return {name: f'{first.isoformat()}..{last.isoformat()}' for name, (first, last) in vars(self).items()}


class Sequences:
    """What rows sorted by entity and time have in common: `x` [N, F], `day`, `fraud`, and `first`, the place where each row's sequence begins."""

    x: np.ndarray
    day: np.ndarray
    fraud: np.ndarray
    first: np.ndarray

    def __len__(self) -> int:
        return len(self.x)

    def sequences(self) -> np.ndarray:
        """[S, 2]: begin and end position of every sequence."""
        begin = np.flatnonzero(self.first == np.arange(len(self)))
        return np.stack([begin, np.append(begin[1:], len(self))], axis=1)

    def windows(self, at: np.ndarray) -> np.ndarray:
        """[len(at), WINDOW, F]: the last rows up to and including each position, oldest first, left padded with zeros."""
        index = at[:, None] + np.arange(1 - WINDOW, 1)[None, :]
        real = index >= self.first[at][:, None]
        out = self.x[np.where(real, index, 0)]
        out[~real] = 0
        return out


@dataclass
class Rows(Sequences):
    """Columns of N rows, sorted by entity and, within an entity, in the order of the file (which is time order)."""

    names: list[str]        # features, in the order of the topology
    x: np.ndarray           # [N, F] float32
    entity: np.ndarray      # [N] int64, dense code
    entity_names: np.ndarray  # [entities] text
    event_id: np.ndarray    # [N] text
    time_ms: np.ndarray     # [N] int64
    day: np.ndarray         # [N] int64, days since 1970-01-01 (UTC)
    fraud: np.ndarray       # [N] float32, 0 or 1
    scenario: np.ndarray    # [N] int64, 0 = genuine
    first: np.ndarray       # [N] int64, position of the first row of this row's sequence
    digest: str             # sha256 of the columns used, in file order

    def within(self, days: tuple[date, date]) -> np.ndarray:
        """Positions of the rows of these days, both included."""
        low, high = (epoch_day(d) for d in days)
        return np.flatnonzero((self.day >= low) & (self.day <= high))


def epoch_day(day: date) -> int:
    return (day - date(1970, 1, 1)) // timedelta(days=1)


def feature_columns(schema: pa.Schema) -> list[str]:
    """The float32 columns, in file order: that is how the engine writes features and nothing else."""
    return [field.name for field in schema if pa.types.is_float32(field.type)]


def load_rows(path: Path) -> Rows:
    table = pq.read_table(path)
    names = feature_columns(table.schema)
    missing = {'event_id', 'entity', 'event_time', 'is_fraud', 'scenario'} - set(table.column_names)
    if missing or not names:
        raise SystemExit(f'{path}: not feature rows with labels (missing {sorted(missing) or "float32 columns"}); see training/README.md')

    x, time_ms, fraud, scenario = event_columns(table, names, path)
    entity_names, entity = np.unique(text(table, 'entity'), return_inverse=True)
    digest = hashlib.sha256()
    for part in (json.dumps(names).encode(), x, time_ms, fraud, scenario):
        digest.update(part if isinstance(part, bytes) else np.ascontiguousarray(part))
    for part in (table['entity'], table['event_id']):
        digest.update('\n'.join(str(v) for v in part.to_pylist()).encode())

    order = np.lexsort((np.arange(len(x)), entity))
    time_ms, entity = time_ms[order], entity[order]
    return Rows(
        names=names, x=np.ascontiguousarray(x[order]), entity=entity, entity_names=entity_names,
        event_id=text(table, 'event_id')[order],
        time_ms=time_ms, day=time_ms // DAY_MS, fraud=fraud[order], scenario=scenario[order],
        first=sequence_begins(entity, time_ms, ENTITY_TTL_DAYS), digest=digest.hexdigest(),
    )


def event_columns(table: pa.Table, names: list[str], path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(x [N, F] float32, event time in ms, fraud as 0 or 1 in float32, scenario) in file order, which must be time order."""
    x = np.stack([table[name].to_numpy() for name in names], axis=1)
    if not np.isfinite(x).all():
        raise SystemExit(f'{path}: a feature is not finite; see column {names[int(np.argmin(np.isfinite(x).all(axis=0)))]}')
    time_ms = as_ms(table['event_time'])
    if (np.diff(time_ms) < 0).any():
        raise SystemExit(f'{path}: rows are not in time order')
    return x, time_ms, table['is_fraud'].cast(pa.int8()).to_numpy().astype(np.float32), table['scenario'].cast(pa.int64()).to_numpy()


def sequence_begins(entity: np.ndarray, time_ms: np.ndarray, ttl_days: int) -> np.ndarray:
    """Of rows sorted by entity and time, the place where each row's sequence begins: a new entity, or one that was silent for longer than its time to live."""
    starts = np.ones(len(entity), dtype=bool)
    starts[1:] = (entity[1:] != entity[:-1]) | (np.diff(time_ms) > ttl_days * DAY_MS)
    return np.maximum.accumulate(np.where(starts, np.arange(len(entity)), 0))


def text(table: pa.Table, name: str) -> np.ndarray:
    return table[name].to_numpy(zero_copy_only=False).astype(str)


def as_ms(column: pa.ChunkedArray) -> np.ndarray:
    """Milliseconds since 1970, from an integer or a timestamp column."""
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp('ms', tz=column.type.tz))
    return column.cast(pa.int64()).to_numpy()
