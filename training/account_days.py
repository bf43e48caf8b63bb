"""Rows of account-risk: days of customers, and payments that were scored at once; what happened in the seven days after each."""
from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow.csv as pc
import pyarrow.parquet as pq

from rows import DAY_MS, WINDOW, Sequences, as_ms, feature_columns, sequence_begins, text

HORIZON_DAYS = 7
GRACE_MS = 3_600_000          # `grace` of the topology: a day is in the ring so much later
FIRST_DAY = int(np.datetime64('2018-04-01').astype('datetime64[D]').astype(int))


class Frauds:
    """Payments that were frauds, by customer and time: what the rows are asked to foresee."""

    def __init__(self, file: Path):
        table = pc.read_csv(file)
        time_ms = table['seconds'].to_numpy() * 1000 + FIRST_DAY * DAY_MS
        bad = table['is_fraud'].to_numpy() > 0
        self.customer = table['customer_id'].to_numpy()[bad].astype(np.int64)
        self.terminal = table['terminal_id'].to_numpy()[bad].astype(np.int64)
        self.time_ms, self.amount = time_ms[bad], table['amount_cents'].to_numpy()[bad] / 100
        self.scenario = table['scenario'].to_numpy()[bad]
        order = np.lexsort((self.time_ms, self.customer))
        for name in ('customer', 'terminal', 'time_ms', 'amount', 'scenario'):
            setattr(self, name, getattr(self, name)[order])

    def after(self, customer: np.ndarray, time_ms: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
        """Sum of `weight` (default: their number) over the customer's frauds in (t, t + 7 days]."""
        span = 1 << 45
        keys = self.customer * span + self.time_ms
        low = np.searchsorted(keys, customer * span + time_ms, side='right')
        high = np.searchsorted(keys, customer * span + time_ms + HORIZON_DAYS * DAY_MS, side='right')
        sums = np.concatenate([[0], np.cumsum(np.ones(len(keys)) if weight is None else weight)])
        return sums[high] - sums[low]

    def begun(self, by: str, scenario: int, longest_days: int) -> np.ndarray:
        """For each fraud of a scenario: when its compromise showed first, ms; 0 for the others. A gap of more than `longest_days` begins another."""
        key, of = getattr(self, by), self.scenario == scenario
        began = np.zeros(len(key), dtype=np.int64)
        for value in np.unique(key[of]):
            at = np.flatnonzero(of & (key == value))
            at = at[np.argsort(self.time_ms[at], kind='stable')]
            first = self.time_ms[at[0]]
            for i in at:
                if self.time_ms[i] - first > longest_days * DAY_MS:
                    first = self.time_ms[i]
                began[i] = first
        return began


class Days(Sequences):
    """Every row, days first (sorted by customer and day), then payments. `fraud`: 1 where one follows within seven days; `loss`: what they cost."""

    def __init__(self, rows_file: Path, frauds: Frauds):
        table = pq.read_table(rows_file)
        self.names = feature_columns(table.schema)
        x = np.stack([table[name].to_numpy() for name in self.names], axis=1)
        if not np.isfinite(x).all():
            raise SystemExit(f'{rows_file}: a feature is not finite')
        event_id, customer, time_ms = text(table, 'event_id'), text(table, 'entity').astype(np.int64), as_ms(table['event_time'])
        is_day = np.char.find(event_id.astype(str), '@') >= 0
        order = np.lexsort((time_ms, customer, ~is_day))
        self.x, self.event_id = np.ascontiguousarray(x[order]), event_id[order]
        self.customer, self.time_ms, self.is_day = customer[order], time_ms[order], is_day[order]
        self.days = int(is_day.sum())
        self.day = self.time_ms // DAY_MS - FIRST_DAY
        self.entity_names, self.entity = np.unique(self.customer, return_inverse=True)
        self.first = sequence_begins(self.entity + (~self.is_day) * len(self.entity_names), self.time_ms, 1)
        self.count = frauds.after(self.customer, self.time_ms)
        self.fraud = (self.count > 0).astype(np.float32)
        self.loss = frauds.after(self.customer, self.time_ms, frauds.amount).astype(np.float32)
        self.scenario = np.where(self.fraud > 0, 3, 0)
        # Of a payment: the newest day that had turned before it.
        span = 1 << 45
        self.before = np.searchsorted(self.customer[:self.days] * span + self.time_ms[:self.days] + GRACE_MS, self.customer * span + self.time_ms, side='right') - 1
        digest = hashlib.sha256(json.dumps(self.names).encode())
        for part in (self.x, self.time_ms, self.fraud, self.loss):
            digest.update(np.ascontiguousarray(part))
        self.digest = digest.hexdigest()

    def sequences(self) -> np.ndarray:
        begin = np.flatnonzero(self.first[:self.days] == np.arange(self.days))
        return np.stack([begin, np.append(begin[1:], self.days)], axis=1)

    def windows(self, at: np.ndarray) -> np.ndarray:
        out = np.zeros((len(at), WINDOW, self.x.shape[1]), dtype=np.float32)
        days = self.is_day[at]
        out[days] = super().windows(at[days])
        payments = at[~days]
        if len(payments) > 0:
            before = self.before[payments]
            last = np.maximum(before, 0)
            known = (before >= 0) & (self.customer[last] == self.customer[payments]) & (self.day[payments] - self.day[last] <= 2)
            part = np.zeros((len(payments), WINDOW, self.x.shape[1]), dtype=np.float32)
            part[known, :-1] = super().windows(last[known])[:, 1:]
            part[:, -1] = self.x[payments]
            out[~days] = part
        return out

    def within(self, first: int, last: int, days: bool | None = True) -> np.ndarray:
        """Positions of the rows of these days of the data, both included: turned days, payments, or (None) both."""
        here = (self.day >= first) & (self.day <= last)
        return np.flatnonzero(here if days is None else here & (self.is_day == days))
