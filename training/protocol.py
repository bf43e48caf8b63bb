"""The sets of the two protocols, the metrics, and what nobody can do better: the bound.

A fold begins with its train week at day s. Test days are s+14 .. s+20; labels are known after seven days, so whoever scores
the test week may have trained on everything up to day s+6.
"""
from __future__ import annotations

from datetime import date

import numpy as np
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from events import FIRST_DAY, Events, View
from metrics import card_precision

WEEK, DELAY_DAYS, COMPROMISED_DAYS = 7, 7, 28
TEST_FOLDS = [(date(2018, m, d) - FIRST_DAY).days for m, d in ((7, 25), (8, 1), (8, 8), (8, 15))]
VALIDATION_FOLDS = [(date(2018, m, d) - FIRST_DAY).days for m, d in ((6, 20), (6, 27), (7, 4), (7, 11))]
HISTORY_DAYS = 14  # at the beginning of the data: windows and delayed labels are still filling, so these days carry no loss


def every_payment(events: Events, s: int) -> np.ndarray:
    """Positions of all payments of the test week."""
    return np.flatnonzero((events.day >= s + 14) & (events.day < s + 21))


def book_set(events: Events, s: int) -> np.ndarray:
    """The test week without cards that are known to be compromised: a fraud in the train week, or, for test day j, a fraud on one of
    the days s+6 .. s+6+j."""
    day, fraud = events.day, events.fraud > 0
    known = np.zeros(events.customer.max() + 1, dtype=bool)
    known[events.customer[fraud & (day >= s) & (day < s + WEEK)]] = True
    kept = []
    for j in range(WEEK):
        known[events.customer[fraud & (day == s + WEEK + j - 1)]] = True
        today = np.flatnonzero(day == s + 14 + j)
        kept.append(today[~known[events.customer[today]]])
    return np.concatenate(kept)


def figures(events: Events, at: np.ndarray, scores: np.ndarray) -> tuple[float, float, float]:
    """AUC ROC, average precision, card precision@100 of the scores [len(at)]."""
    y = events.fraud[at]
    return (float(roc_auc_score(y, scores)), float(average_precision_score(y, scores)), card_precision(events.customer[at], events.day[at], y, scores))


def bound_scores(events: Events) -> np.ndarray:
    """[N] scores of somebody who is told the frauds of scenario 1 and 3 outright, knows the simulator's rules, and must infer
    scenario 2 from labels that are seven days old. No model can do better but by luck.

    A terminal is compromised for 28 days from the first second of day D, and each payment on it is a fraud then. With g the last known
    genuine payment and f the first known fraud of scenario 2 after it, D lies in (day(g), day(f)], evenly likely; with no such f, it began
    with probability 2 / terminals on each of the days since g.
    """
    view = View(events, events.terminal, columns=[0])
    day, second = view.day, events.scenario[view.order] == 2
    delay = view_before(events, view)
    place = np.arange(len(view))
    last_genuine = np.maximum.accumulate(np.where(view.fraud == 0, place, -1))
    last_fraud = np.maximum.accumulate(np.where(second, place, -1))
    next_fraud = np.append(np.minimum.accumulate(np.where(second, place, len(place))[::-1])[::-1], len(place))
    newest = np.maximum(delay - 1, 0)
    g = np.where(delay > view.first, last_genuine[newest], -1)
    has_g = g >= view.first
    f = next_fraud[np.minimum(np.where(has_g, g + 1, view.first), delay)]
    run = f < delay
    day_g = np.where(has_g, day[np.maximum(g, 0)], -1)
    day_f = np.where(run, day[np.minimum(f, len(place) - 1)], 0)
    day_last = np.where(run, day[np.maximum(last_fraud[newest], 0)], 0)
    hazard = 2 / (events.terminal.max() + 1)
    lowest = np.maximum(np.maximum(day_g + 1, day_f - COMPROMISED_DAYS + 1), day_last - COMPROMISED_DAYS + 1)
    possible = np.maximum(day_f - lowest + 1, 1)
    lasting = np.clip(day_f - np.maximum(lowest, day - COMPROMISED_DAYS + 1) + 1, 0, possible) / possible
    fresh = (1 - hazard) ** np.minimum(np.where(run, day - day_last, day - day_g), COMPROMISED_DAYS)
    probability = np.empty(len(events))
    probability[view.order] = np.where(run, 1 - (1 - lasting) * fresh, 1 - fresh)
    return np.where(np.isin(events.scenario, (1, 3)), 1.0, probability)


def view_before(events: Events, view: View) -> np.ndarray:
    """[len(view)]: for each row the place after the last row of its entity whose label is known by then."""
    time_s = events.time_ms[view.order] // 1000
    span = int(time_s.max() - time_s.min()) + (DELAY_DAYS + 1) * 86_400
    sequence = np.cumsum(view.first == np.arange(len(view))) * np.int64(span)
    key = sequence + time_s - time_s.min()
    return np.maximum(np.searchsorted(key, key - DELAY_DAYS * 86_400, side='right'), view.first)


def visible(events: Events) -> np.ndarray:
    """[N] bool: frauds that can be told in principle: scenario 1 and 3, and scenario 2 once a fraud of this compromise is known."""
    scores = bound_scores(events)
    return (events.fraud > 0) & (np.isin(events.scenario, (1, 3)) | (scores >= 0.5))


SETS = {'book': book_set, 'every': every_payment}
CURVE_POINTS = 100


def classes(events: Events, seen: np.ndarray) -> dict[str, np.ndarray]:
    """Kinds of frauds as masks [N]. A fraud of scenario 2 can be seen in principle once a fraud of the same compromise is known."""
    s = events.scenario
    return {'scenario1': s == 1, 'scenario2Visible': (s == 2) & seen, 'scenario2Hidden': (s == 2) & ~seen, 'scenario3': s == 3}


def measure(events: Events, seen: np.ndarray, folds: list[np.ndarray]) -> dict:
    """What one model is worth on the four test weeks, on each kind of set. `folds`: the scores of every payment of each week.

    `reached`: of the frauds of a class, the share among as many payments of the highest scores as there are visible frauds.
    """
    kinds, result = classes(events, seen), {}
    for name, chosen in SETS.items():
        values, reached, frauds, pooled = [], [], [], ([], [])
        for s, scores in zip(TEST_FOLDS, folds):
            at = chosen(events, s)
            here = scores[np.searchsorted(every_payment(events, s), at)]
            values.append(figures(events, at, here))
            top = np.zeros(len(at), dtype=bool)
            top[np.argsort(-here, kind='stable')[:int(seen[at].sum())]] = True
            reached.append([top[kind[at]].sum() for kind in kinds.values()])
            frauds.append([kind[at].sum() for kind in kinds.values()])
            pooled[0].append(events.fraud[at]), pooled[1].append(here)
        share = np.sum(reached, axis=0) / np.maximum(np.sum(frauds, axis=0), 1)
        result[name] = {
            'mean': rounded(np.mean(values, axis=0)), 'sd': rounded(np.std(values, axis=0)), 'folds': [rounded(fold) for fold in values],
            'reached': dict(zip(kinds, rounded(share))), 'frauds': dict(zip(kinds, np.sum(frauds, axis=0).tolist())),
            'curve': curve(np.concatenate(pooled[0]), np.concatenate(pooled[1])),
        }
    return result


def curve(y: np.ndarray, scores: np.ndarray) -> list[float]:
    """Precision at CURVE_POINTS evenly spaced recalls up to 1, all four weeks together."""
    precision, recall, _ = precision_recall_curve(y, scores)
    wanted = np.arange(1, CURVE_POINTS + 1) / CURVE_POINTS
    at = len(recall) - 1 - np.searchsorted(recall[::-1], wanted - 1e-12, side='left')
    return rounded(precision[np.clip(at, 0, len(precision) - 1)])


def rounded(values) -> list[float]:
    return [round(float(v), 4) for v in values]
