"""Figures on held-out days, in two protocols, and the thresholds proposed for a policy."""
from __future__ import annotations

from datetime import timedelta

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from rows import Rows, Split, epoch_day

CARDS_A_DAY = 100
REVIEW_PRECISION = 0.5    # a person looks at an alert: every second one should be worth it
DECLINE_PRECISION = 0.95  # nobody looks before a payment is declined


def card_precision(entity: np.ndarray, day: np.ndarray, fraud: np.ndarray, scores: np.ndarray, top: int = CARDS_A_DAY) -> float:
    """Card precision@top of the handbook: for each day the cards by their highest score, without those detected on an earlier
    day; the share of the top that had a fraud that day; mean over the days."""
    detected: set[int] = set()
    values = []
    for d in np.unique(day):
        today = np.flatnonzero(day == d)
        cards, inverse = np.unique(entity[today], return_inverse=True)
        best = np.full(len(cards), -1.0)
        np.maximum.at(best, inverse, scores[today])
        bad = np.zeros(len(cards))
        np.maximum.at(bad, inverse, fraud[today])
        open_cards = np.flatnonzero([c not in detected for c in cards])
        chosen = open_cards[np.argsort(-best[open_cards], kind='stable')][:top]
        caught = cards[chosen][bad[chosen] > 0]
        values.append(len(caught) / top)
        detected.update(caught.tolist())
    return float(np.mean(values))


def handbook_test_rows(rows: Rows, split: Split) -> np.ndarray:
    """The test week of the handbook's single split, without cards known to be compromised: those with a fraud in the train
    week (14 to 8 days before), and for test day j those with a fraud from the last train day to j - 1 days into the delay week."""
    first = epoch_day(split.handbook_week[0])
    train_first, delay_first = first - 14, first - 7
    fraud = rows.fraud > 0
    known = np.unique(rows.entity[fraud & (rows.day >= train_first) & (rows.day < delay_first)])
    kept = []
    for j in range(7):
        known = np.union1d(known, rows.entity[fraud & (rows.day == delay_first + j - 1)])
        today = np.flatnonzero(rows.day == first + j)
        kept.append(today[~np.isin(rows.entity[today], known)])
    return np.concatenate(kept)


def summary(rows: Rows, at: np.ndarray, scores: np.ndarray) -> dict:
    y = rows.fraud[at]
    return {
        'rows': int(len(at)), 'frauds': int(y.sum()),
        'aucRoc': round(float(roc_auc_score(y, scores)), 4),
        'averagePrecision': round(float(average_precision_score(y, scores)), 4),
    }


def held_out(rows: Rows, split: Split, at: np.ndarray, scores: np.ndarray) -> dict:
    """`scores` belong to the rows `at`, which are all rows of the test days, sorted by position."""
    stream = summary(rows, at, scores)
    weeks, first = [], split.test[0]
    while first + timedelta(days=6) <= split.test[1]:
        here = (rows.day[at] >= epoch_day(first)) & (rows.day[at] < epoch_day(first) + 7)
        weeks.append(card_precision(rows.entity[at][here], rows.day[at][here], rows.fraud[at][here], scores[here]))
        first += timedelta(days=7)
    stream['cardPrecision100'] = round(float(np.mean(weeks)), 4)
    chosen = handbook_test_rows(rows, split)
    theirs = scores[np.searchsorted(at, np.sort(chosen))]
    chosen = np.sort(chosen)
    handbook = summary(rows, chosen, theirs)
    handbook['cardPrecision100'] = round(card_precision(rows.entity[chosen], rows.day[chosen], rows.fraud[chosen], theirs), 4)
    return {'stream': stream, 'handbookWeek': handbook}


def at_threshold(rows: Rows, at: np.ndarray, scores: np.ndarray, threshold: float) -> dict:
    """What a threshold means: alerts a day, their precision, and the share of frauds found, in all and by scenario."""
    days = len(np.unique(rows.day[at]))
    alert = scores >= threshold
    y, scenario = rows.fraud[at] > 0, rows.scenario[at]
    recall = {f'recallScenario{s}': round(float(alert[scenario == s].mean()), 4) for s in (1, 2, 3) if (scenario == s).any()}
    return {
        'threshold': threshold, 'alertsADay': round(float(alert.sum() / days), 1),
        'precision': round(float(y[alert].mean()), 4) if alert.any() else None, 'recall': round(float(alert[y].mean()), 4), **recall,
    }


def propose_thresholds(fraud: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Two-digit thresholds, from validation rows: the smallest whose alerts hold the wanted share of frauds."""
    grid = np.round(np.arange(0.01, 1.0, 0.01), 2)

    def smallest(precision: float) -> float:
        return next((float(t) for t in grid if (scores >= t).any() and fraud[scores >= t].mean() >= precision), 0.99)

    return {'review': smallest(REVIEW_PRECISION), 'decline': smallest(DECLINE_PRECISION)}


def calibration(fraud: np.ndarray, scores: np.ndarray) -> list[dict]:
    """Mean score against the share of frauds in bands of the score."""
    edges = [0, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 1.0001]
    bands = []
    for low, high in zip(edges, edges[1:]):
        here = (scores >= low) & (scores < high)
        if here.any():
            bands.append({'from': low, 'rows': int(here.sum()), 'meanScore': round(float(scores[here].mean()), 4), 'frauds': round(float(fraud[here].mean()), 4)})
    return bands
