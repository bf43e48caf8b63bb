"""The events of both stages of card-terminal, and views of them by card or by terminal.

Nothing here computes a feature. The rows come from `harrier features`: those of the terminal stage hold the card's features too.
"""
from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rows import DAY_MS, Sequences, event_columns, feature_columns, sequence_begins, text

FIRST_DAY = date(2018, 4, 1)  # day 0 of the published data set
TTL_DAYS = 61                 # `ttl` of both stages: an entity silent for longer starts anew, as in the engine
CARD_SCORE = 'card_score'     # what the customer stage's model said


@dataclass
class Events:
    """Columns of N events in the order of the stream."""

    names: list[str]            # [F] features of the terminal stage, in the order of the topology
    x: np.ndarray               # [N, F] float32
    customer: np.ndarray        # [N] dense code
    terminal: np.ndarray        # [N] dense code
    terminal_names: np.ndarray  # [terminals] text
    event_id: np.ndarray        # [N] text
    time_ms: np.ndarray         # [N] int64
    day: np.ndarray             # [N] days since 2018-04-01 (UTC)
    fraud: np.ndarray           # [N] float32, 0 or 1
    scenario: np.ndarray        # [N] 0 = genuine; for tables only, never for training
    digest: str                 # sha256 of what was read

    def __len__(self) -> int:
        return len(self.x)

    def within(self, first: int, last: int) -> np.ndarray:
        """Positions of the events of these days, both included."""
        return np.flatnonzero((self.day >= first) & (self.day <= last))


class View(Sequences):
    """Rows of one entity side by side, in time order. `index` maps event -> place in the view, `order` the way back.

    Only the events `at` (default: all) exist in a view: a model that reads it sees no history from before a set.
    """

    def __init__(self, events: Events, key: np.ndarray, at: np.ndarray | None = None, columns: list[int] | None = None):
        at = np.arange(len(events)) if at is None else at
        self.order = at[np.argsort(key[at], kind='stable')]
        self.index = np.full(len(events), -1, dtype=np.int64)
        self.index[self.order] = np.arange(len(at))
        self.x = np.ascontiguousarray(events.x[self.order] if columns is None else events.x[self.order][:, columns])
        self.names = events.names if columns is None else [events.names[i] for i in columns]
        self.fraud, self.day, self.scenario = events.fraud[self.order], events.day[self.order], events.scenario[self.order]
        self.entity, self.entity_names, self.event_id = key[self.order], events.terminal_names, events.event_id[self.order]
        self.first = sequence_begins(self.entity, events.time_ms[self.order], TTL_DAYS)


def load_events(card_file: Path, terminal_file: Path) -> Events:
    """`card_file`: rows of card-fraud, for the card of each event. `terminal_file`: rows of card-terminal's last stage."""
    cards, terminals = read(card_file, ['event_id', 'entity']), read(terminal_file)
    names = feature_columns(terminals.schema)
    event_id = text(terminals, 'event_id')
    their_id, their_card = text(cards, 'event_id'), text(cards, 'entity')
    by_id = np.argsort(their_id, kind='stable')
    place = by_id[np.minimum(np.searchsorted(their_id[by_id], event_id), len(by_id) - 1)]
    if (their_id[place] != event_id).any():
        raise SystemExit(f'{card_file} lacks events of {terminal_file}: they are not of the same data')
    x, time_ms, fraud, scenario = event_columns(terminals, names, terminal_file)
    digest = hashlib.sha256(' '.join(names).encode())
    for part in (x, time_ms, fraud):
        digest.update(np.ascontiguousarray(part))
    terminal_names, terminal = np.unique(text(terminals, 'entity'), return_inverse=True)
    return Events(
        names=names, x=x, customer=np.unique(their_card[place], return_inverse=True)[1], terminal=terminal, terminal_names=terminal_names,
        event_id=event_id, time_ms=time_ms, day=time_ms // DAY_MS - (FIRST_DAY - date(1970, 1, 1)).days, fraud=fraud,
        scenario=scenario, digest=digest.hexdigest(),
    )


def read(path: Path, columns: list[str] | None = None) -> pa.Table:
    table = pq.read_table(path, columns=columns)
    missing = set(columns or ('event_id', 'entity', 'event_time', 'is_fraud', 'scenario', CARD_SCORE)) - set(table.column_names)
    if missing:
        raise SystemExit(f'{path}: not the rows that are wanted (missing {sorted(missing)}); see training/README.md')
    return table
