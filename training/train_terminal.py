"""Trains the models of card-terminal in both protocols (protocol.py), ships those of the stream protocol and writes the figures.

Stream protocol: warm state, all history whose labels were known. A network is trained to the first cut-off with early stopping on its last
week; that network is what is shipped. For the figures it then goes on for one epoch at each fold's cut-off. Trees are made anew there.

Book protocol: a week of training, a week of delay, a week of test; sequences begin empty at the edge of each set, and no model's
score is a feature. The number of epochs comes from the four validation folds. card-* follow the card and card-terminal the terminal, and
all of them see the features of both, as the published models do.
"""
from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import sklearn
import torch
from sklearn.metrics import average_precision_score

import export
import golden
import metrics
import protocol
import trees
from cost import spent
from events import CARD_SCORE, Events, View, load_events
from fit import Settings, fit, score
from manifest import manifest, write_manifest
from models import parameter_count
from terminal_models import AttentionModel, CnnModel, GruModel, LinearModel, RowModel

NETWORKS = {
    'terminal-row': RowModel, 'terminal-attention': AttentionModel, 'terminal-cnn': CnnModel,
    'card-terminal': lambda x, fraud: GruModel(x, fraud, hidden=32),
}
BOOST = 'terminal-boost'
MODELS = (BOOST, *NETWORKS)
COMMON = {'patience': 3, 'last_rate': 0.04, 'weight_decay': 1e-3, 'genuine_share': 0.15, 'sequences': 128, 'sequence_share': 0.5, 'chunk': 48, 'cold_start': 0.1}
SETTINGS = {'row': Settings(epochs=12, **COMMON), 'window': Settings(epochs=8, **COMMON), 'recurrent': Settings(epochs=6, **COMMON)}
FURTHER = {kind: replace(settings, epochs=1, learning_rate=7e-4) for kind, settings in SETTINGS.items()}  # at the later cut-offs
STREAM_TREES = {'trees': 150, 'leaves': 24, 'smallest_leaf': 50}
BOOK_TREES = {'trees': 80, 'leaves': 8, 'smallest_leaf': 20}
TREES_GENUINE_SHARE = 0.25
BOOK_SETTINGS = Settings(**{**COMMON, 'epochs': 10, 'learning_rate': 2e-3, 'weight_decay': 2e-2, 'genuine_share': 0.5, 'sequence_share': 1.0, 'batch': 256})
BOOK_NETWORKS = {
    'card-row': ('customer', LinearModel), 'card-gru': ('customer', lambda x, y: GruModel(x, y, hidden=24, width=32)), 'card-attention': ('customer', AttentionModel),
    'card-cnn': ('customer', CnnModel), 'card-terminal': ('terminal', lambda x, y: GruModel(x, y, hidden=24, width=32)),
}
BOOK_BOOST = 'card-boost'
FIRST_CUT = protocol.TEST_FOLDS[0]                # its train week is the validation week of the networks
HELD_OUT = (protocol.TEST_FOLDS[0] + 14, 182)     # test days of a manifest, as in rows.Split
GOLDEN_TERMINALS = 12


class Run:
    """What every training of one command shares: the events, what can be seen in principle, and the file of figures."""

    def __init__(self, events: Events, options: argparse.Namespace):
        self.events, self.options, self.started = events, options, time.monotonic()
        self.seen = protocol.visible(events)
        self.terminals = View(events, events.terminal)
        self.say(f'{len(events):,} events, {len(events.names)} features, {int(events.fraud.sum()):,} frauds, {int(self.seen.sum()):,} of them visible')

    def say(self, line: str) -> None:
        print(f'{line}  [{time.monotonic() - self.started:.0f} s]', flush=True)

    def record(self, which: str, name: str, kind: str, seed: int, folds: list[np.ndarray], training: dict) -> dict:
        """`folds`: for each test fold the scores of every payment of its week. A further seed adds its means to the first one's entry."""
        sets = protocol.measure(self.events, self.seen, folds)
        figures = json.loads(self.options.figures.read_text()) if self.options.figures.exists() else {}
        entries = figures.setdefault(which, {})
        seeds = {} if seed == self.options.seed else entries[name]['seeds']
        seeds |= {str(seed): {kind_of_set: s['mean'] for kind_of_set, s in sets.items()}}
        if seed == self.options.seed:
            entries[name] = {'kind': kind, 'rows': self.events.digest, 'training': training, 'sets': sets, 'seeds': seeds}
        write_figures(self.options.figures, figures)
        self.say(f'{which} {name}, seed {seed}: book\'s sets {sets["book"]["mean"]}, every payment {sets["every"]["mean"]}')
        return sets

    def on_folds(self, scores_of) -> list[np.ndarray]:
        return [scores_of(protocol.every_payment(self.events, s)) for s in protocol.TEST_FOLDS]


def write_figures(file: Path, figures: dict) -> None:
    """Numbers of a list in one line, so that a change of one figure is a change of one line."""
    text = json.dumps(figures, indent=1)
    parts, depth = [], 0
    for line in text.split('\n'):
        bare = line.strip()
        inner = depth > 0 and not bare.startswith(('{', '"')) or bare in (']', '],') and depth > 0
        parts.append((' ' if parts[-1][-1] == ',' else '') + bare if inner else ('\n' if parts else '') + line)
        depth += bare.endswith('[') - (bare in (']', '],'))
    file.write_text(''.join(parts) + '\n')


def train_terminal(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    run = Run(load_events(options.rows, options.terminal_rows), options)
    bound = protocol.bound_scores(run.events)
    run.record('bound', 'bound', 'bound', options.seed, run.on_folds(lambda at: bound[at]), {})
    wanted = [name for name in MODELS if name in (options.model or MODELS)]
    for seed in range(options.seed, options.seed + options.seeds):
        for name in wanted:
            boost_stream(run, seed) if name == BOOST else network_stream(run, name, seed)
        if options.book:
            for name in (BOOK_BOOST, *BOOK_NETWORKS):
                if not options.model or name in options.model:
                    boost_book(run, seed) if name == BOOK_BOOST else network_book(run, name, seed)


def network_stream(run: Run, name: str, seed: int) -> None:
    events, view = run.events, run.terminals
    train_at, validate_at = (np.sort(view.index[events.within(*days)]) for days in ((protocol.HISTORY_DAYS, FIRST_CUT - 1), (FIRST_CUT, FIRST_CUT + 6)))
    torch.manual_seed(seed)
    model = NETWORKS[name](view.x[train_at], view.fraud[train_at])
    run.say(f'{name}, seed {seed}: {parameter_count(model):,} parameters')
    fits = [fit(model, view, train_at, validate_at, SETTINGS[model.kind], seed, run.say)]
    if seed == run.options.seed:
        ship(run, name, model.kind, model, lambda at: score(model, view, view.index[at]), fits[0], {'rows': len(train_at), 'parameters': parameter_count(model)})
    folds = []
    for s in protocol.TEST_FOLDS:
        fits.append(fit(model, view, np.sort(view.index[events.within(protocol.HISTORY_DAYS, s + 6)]), None, FURTHER[model.kind], seed + s, lambda line: None))
        folds.append(score(model, view, view.index[protocol.every_payment(events, s)]))
    run.record('stream', name, model.kind, seed, folds, {'parameters': parameter_count(model), 'epochs': fits[0]['bestEpoch'], **spent(fits)})


def boost_stream(run: Run, seed: int) -> None:
    events, fits, folds = run.events, [], []

    def made(last_day: int) -> trees.HistGradientBoostingClassifier:
        at = events.within(protocol.HISTORY_DAYS, last_day)
        at = at[(events.fraud[at] > 0) | (np.random.default_rng(seed).random(len(at)) < TREES_GENUINE_SHARE)]
        started, cpu = time.monotonic(), time.process_time()
        model = trees.boosting(seed, **STREAM_TREES).fit(events.x[at], events.fraud[at], sample_weight=np.where(events.fraud[at] > 0, 1, 1 / TREES_GENUINE_SHARE))
        fits.append({'epochs': STREAM_TREES['trees'], 'bestEpoch': STREAM_TREES['trees'], 'seconds': time.monotonic() - started, 'cpuSeconds': time.process_time() - cpu})
        return model

    def scores_of(model):
        return lambda at: model.predict_proba(events.x[at])[:, 1].astype(np.float32)

    if seed == run.options.seed:
        model = made(FIRST_CUT - 1)
        ship(run, BOOST, 'row', model, scores_of(model), fits.pop(), {'rows': len(events.within(protocol.HISTORY_DAYS, FIRST_CUT - 1)), 'parameters': tree_size(model)})
    for s in protocol.TEST_FOLDS:
        model = made(s + 6)
        folds.append(scores_of(model)(protocol.every_payment(events, s)))
    run.record('stream', BOOST, 'row', seed, folds, {'parameters': tree_size(model), 'epochs': STREAM_TREES['trees'], **spent(fits)})


def tree_size(model) -> int:
    """A split holds a feature and a limit, a leaf a value."""
    nodes = [predictor.nodes for (predictor,) in model._predictors]
    return int(sum(2 * (n['is_leaf'] == 0).sum() + (n['is_leaf'] == 1).sum() for n in nodes))


def ship(run: Run, name: str, kind: str, model, scores_of, fitted: dict, training: dict) -> None:
    """Writes and checks the model's folder: file, manifest and golden scores. Its thresholds come from the validation week."""
    events, view, options = run.events, run.terminals, run.options
    file = options.out / name / '1' / 'model.onnx'
    network = model if isinstance(model, torch.nn.Module) else None
    sha256 = export.export(model, len(events.names), file) if network else trees.export(model, len(events.names), file)
    hidden = getattr(model, 'hidden', 0)
    early, late = view.index[events.within(0, FIRST_CUT - 1)], view.index[events.within(*HELD_OUT)]
    x, h = export.check_inputs(view, kind, hidden, early, late, options.seed)
    export.check_batch_equality(file, kind, x, h)
    golden_at = golden.choose(view, np.sort(late), (2,), options.seed, GOLDEN_TERMINALS)
    source = network or Trees(model)
    difference = golden.check(source, view, golden_at, file)
    golden.write_beside(source, view, golden_at[:golden.BESIDE], file)
    if options.golden:
        golden.write_rows(view, golden_at, options.golden / 'terminal-rows.json')
        golden.write_scores(source, name, sha256, view, golden_at, options.golden)
    micros = {str(size): round(export.microseconds_a_row(file, kind, x, h, size), 2) for size in (1, 256)}
    run.say(f'  {file}: {file.stat().st_size:,} bytes, {golden.source_of(source)} within {difference:.1e}, {micros["1"]} us a row at batch 1, {micros["256"]} at 256')
    whole = {
        'data': f'transaction simulator with the published seeds, {len(events):,} rows, sha256 {events.digest}',
        'command': f'python training/train.py --rows rows.parquet --terminal-rows terminal-rows.parquet --model {name} --seed {options.seed}', 'seed': options.seed,
        **training, 'split': {key: '..'.join(date_of(d) for d in days) for key, days in (('train', (protocol.HISTORY_DAYS, FIRST_CUT - 1)), ('validation', (FIRST_CUT, FIRST_CUT + 6)), ('test', HELD_OUT))},
        'epochs': fitted['epochs'], 'bestEpoch': fitted['bestEpoch'], **spent([fitted]), **package_of(network), 'microsecondsARow': micros,
    }
    write_manifest(file.parent, manifest(name, kind, hidden, events.names, sha256, whole, held_out(run, scores_of)))


def held_out(run: Run, scores_of) -> dict:
    events = run.events
    validation, test = events.within(FIRST_CUT, FIRST_CUT + 6), events.within(*HELD_OUT)
    on_validation, on_test = scores_of(validation), scores_of(test)
    first = protocol.every_payment(events, FIRST_CUT)
    book = protocol.book_set(events, FIRST_CUT)
    weeks = [(events.day[test] >= d) & (events.day[test] < d + 7) for d in range(HELD_OUT[0], HELD_OUT[1] - 5, 7)]
    precision = np.mean([metrics.card_precision(events.customer[test][w], events.day[test][w], events.fraud[test][w], on_test[w]) for w in weeks])
    in_book = on_test[:len(first)][np.searchsorted(first, book)]
    return {
        'heldOut': {
            'stream': {**metrics.summary(events, test, on_test), 'cardPrecision100': round(float(precision), 4)},
            'handbookWeek': {**metrics.summary(events, book, in_book), 'cardPrecision100': round(metrics.card_precision(events.customer[book], events.day[book], events.fraud[book], in_book), 4)},
        },
        'thresholds': {level: metrics.at_threshold(events, test, on_test, value) for level, value in metrics.propose_thresholds(events.fraud[validation], on_validation).items()},
        'calibration': metrics.calibration(events.fraud[test], on_test),
    }


class Trees:
    """Trees as golden.py wants a model: rows in, probabilities out."""

    kind, source, version = 'row', 'scikit-learn', sklearn.__version__

    def __init__(self, model):
        self.model = model

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        return self.model.predict_proba(x)[:, 1].astype(np.float32)


def package_of(network: torch.nn.Module | None) -> dict:
    return {'torch': torch.__version__.split('+')[0]} if network else {'scikitLearn': sklearn.__version__}


def date_of(day: int) -> str:
    return str(np.datetime64('2018-04-01') + day)


def boost_book(run: Run, seed: int) -> None:
    events, folds, fits = run.events, [], []
    columns = without_card_score(events)
    for s in protocol.TEST_FOLDS:
        at, started, cpu = events.within(s, s + 6), time.monotonic(), time.process_time()
        model = trees.boosting(seed, **BOOK_TREES).fit(events.x[at][:, columns], events.fraud[at])
        fits.append({'seconds': time.monotonic() - started, 'cpuSeconds': time.process_time() - cpu})
        folds.append(model.predict_proba(events.x[protocol.every_payment(events, s)][:, columns])[:, 1])
    run.record('book', BOOK_BOOST, 'row', seed, folds, {'parameters': tree_size(model), 'epochs': BOOK_TREES['trees'], **spent(fits)})


def network_book(run: Run, name: str, seed: int) -> None:
    """The first seed finds the number of epochs on the validation folds; further seeds take it over."""
    if seed == run.options.seed:
        quality = np.zeros(BOOK_SETTINGS.epochs)
        for s in protocol.VALIDATION_FOLDS:
            quality += book_fold(run, name, s, seed, None)[0]
        epochs = int(quality.argmax()) + 1
        run.say(f'{name}: validation average precision by epoch {(quality / len(protocol.VALIDATION_FOLDS)).round(4).tolist()}, so {epochs} epochs')
    else:
        epochs = json.loads(run.options.figures.read_text())['book'][name]['training']['epochs']
    results = [book_fold(run, name, s, seed, epochs) for s in protocol.TEST_FOLDS]
    run.record('book', name, results[0][2].kind, seed, [r[0] for r in results], {'parameters': parameter_count(results[0][2]), 'epochs': epochs, **spent([r[1] for r in results])})


def book_fold(run: Run, name: str, s: int, seed: int, epochs: int | None):
    """(scores of every payment of the test week, or without `epochs` the average precision after each epoch; what it cost; the model)."""
    events, (key, kind) = run.events, BOOK_NETWORKS[name]
    entity, columns = getattr(events, key), without_card_score(events)
    train, at, kept = View(events, entity, events.within(s, s + 6), columns), protocol.every_payment(events, s), protocol.book_set(events, s)
    test, quality = View(events, entity, at, columns), []
    torch.manual_seed(seed)
    model = kind(train.x, train.fraud)

    def after(epoch: int) -> bool:
        if epochs is None:
            quality.append(average_precision_score(events.fraud[kept], score(model, test, test.index[kept])))
        return epoch == epochs

    fitted = fit(model, train, np.arange(len(train)), None, BOOK_SETTINGS, seed, lambda line: None, after)
    return np.array(quality) if epochs is None else score(model, test, test.index[at]), fitted, model


def without_card_score(events: Events) -> list[int]:
    """card_score is of a model that was trained on more than this protocol's week."""
    return [i for i, name in enumerate(events.names) if name != CARD_SCORE]
