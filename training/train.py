"""Trains the models of card-fraud and card-terminal from feature rows that the engine exported, checks them and writes them as ONNX.

    python training/train.py --rows rows.parquet --out models/ [--model card-gru] [--seed 7]
    python training/train.py --rows rows.parquet --terminal-rows terminal-rows.parquet --out models/ [--book]

Without --terminal-rows the four models of card-fraud; with them those of card-terminal, and the figures of both protocols.

Writes <out>/<name>/1/{model.onnx,model.yaml,golden.json} and, with --golden, the golden scores for the engine's tests.
The same rows, seed and package versions on the same machine give the same bytes of model.onnx.
"""
from __future__ import annotations

import argparse
import os
import time
from dataclasses import asdict
from pathlib import Path

THREADS = 2
os.environ.setdefault('OMP_NUM_THREADS', str(THREADS))  # read once, when torch loads

import numpy as np  # noqa: E402
import torch  # noqa: E402

import export  # noqa: E402
import golden  # noqa: E402
import metrics  # noqa: E402
from fit import SETTINGS, fit, score  # noqa: E402
from manifest import manifest, write_manifest  # noqa: E402
from models import HIDDEN, MODELS, Normalise, parameter_count  # noqa: E402
from rows import Rows, Split, load_rows  # noqa: E402
from cost import spent  # noqa: E402
from train_terminal import BOOK_BOOST, BOOK_NETWORKS, MODELS as TERMINAL_MODELS, train_terminal  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rows', type=Path, required=True, help='Parquet file of `harrier features`')
    parser.add_argument('--out', type=Path, default=Path('models'), help='folder of models (default: models)')
    parser.add_argument('--model', action='append', help='train only this one; may be repeated (default: all)')
    parser.add_argument('--seed', type=int, default=7)
    parser.add_argument('--epochs', type=int, help='instead of the model\'s own number: for a quick look')
    parser.add_argument('--golden', type=Path, help='folder for golden rows and scores, for example test/golden/models')
    parser.add_argument('--terminal-rows', type=Path, help='Parquet file of `harrier features` of card-terminal\'s last stage')
    parser.add_argument('--seeds', type=int, default=1, help='so many seeds, from --seed on; the first one is shipped (with --terminal-rows)')
    parser.add_argument('--book', action='store_true', help='the book protocol too (with --terminal-rows)')
    parser.add_argument('--figures', type=Path, default=Path('training/figures.json'), help='where figures go (with --terminal-rows)')
    options = parser.parse_args()
    known = (*TERMINAL_MODELS, BOOK_BOOST, *BOOK_NETWORKS) if options.terminal_rows else MODELS
    for name in options.model or []:
        if name not in known:
            parser.error(f'no model is called {name}; there are {", ".join(known)}')
    torch.use_deterministic_algorithms(True)
    if options.terminal_rows:
        train_terminal(options)
    else:
        train_cards(options)


def train_cards(options: argparse.Namespace) -> None:

    torch.set_num_threads(THREADS)
    split = Split()
    print(f'reading {options.rows}', flush=True)
    rows = load_rows(options.rows)
    print(f'{len(rows):,} rows of {len(rows.entity_names):,} entities, {len(rows.names)} features; train {len(rows.within(split.train)):,}, '
          f'validation {len(rows.within(split.validation)):,}, test {len(rows.within(split.test)):,}')
    golden_at = golden.choose(rows, rows.within(split.test), (1, 3), options.seed)
    if options.golden:
        golden.write_rows(rows, golden_at, options.golden / 'rows.json')
    results = [train_one(name, rows, split, golden_at, options) for name in options.model or MODELS]
    print_table(results)


def train_one(name: str, rows: Rows, split: Split, golden_at: np.ndarray, options: argparse.Namespace) -> dict:
    settings = SETTINGS[name]
    if options.epochs:
        settings = type(settings)(**{**asdict(settings), 'epochs': options.epochs})
    torch.manual_seed(options.seed)
    train_at = rows.within(split.train)
    model = MODELS[name](Normalise(rows.x[train_at]), len(rows.names))
    print(f'{name}: {parameter_count(model):,} parameters', flush=True)
    fitted = fit(model, rows, train_at, rows.within(split.validation), settings, options.seed, lambda line: print(line, flush=True))

    folder = options.out / name / '1'
    file = folder / 'model.onnx'
    sha256 = export.export(model, len(rows.names), file)
    x, h = export.check_inputs(rows, model.kind, HIDDEN, train_at, rows.within(split.test), options.seed)
    compared = export.check_batch_equality(file, model.kind, x, h)
    difference = golden.check(model, rows, golden_at, file)
    golden.write_beside(model, rows, golden_at[:golden.BESIDE], file)
    if options.golden:
        golden.write_scores(model, name, sha256, rows, golden_at, options.golden)
    micros = {size: export.microseconds_a_row(file, model.kind, x, h, size) for size in (1, 256)}
    print(f'  {file}: {file.stat().st_size:,} bytes; {compared:,} rows bit-equal at batch sizes {", ".join(map(str, export.BATCH_SIZES))}; '
          f'PyTorch within {difference:.1e}; {micros[1]:.1f} us a row at batch 1, {micros[256]:.2f} at 256')

    figures = evaluate(model, rows, split)
    command = f'python training/train.py --rows rows.parquet --out models/ --seed {options.seed}' + (f' --epochs {options.epochs}' if options.epochs else '')
    training = {
        'data': f'transaction simulator with the published seeds, {len(rows):,} rows, sha256 {rows.digest}', 'command': command, 'seed': options.seed,
        'rows': int(len(train_at)), **spent([fitted]), 'parameters': parameter_count(model), 'split': split.describe(),
        'epochs': fitted['epochs'], 'bestEpoch': fitted['bestEpoch'], 'torch': torch.__version__.split('+')[0],
    }
    write_manifest(folder, manifest(name, model.kind, HIDDEN, rows.names, sha256, training, figures))
    return {'name': name, 'parameters': parameter_count(model), 'bytes': file.stat().st_size, 'micros': micros[256], **figures}


def evaluate(model, rows: Rows, split: Split) -> dict:
    """Thresholds come from validation days; every figure is of test days, from which no weight, epoch or threshold is taken."""
    started = time.monotonic()
    validation, test = rows.within(split.validation), rows.within(split.test)
    wanted = np.concatenate([validation, test])
    scores = dict(zip(wanted.tolist(), score(model, rows, wanted)))
    on = lambda at: np.array([scores[i] for i in at.tolist()], dtype=np.float32)  # noqa: E731
    thresholds = metrics.propose_thresholds(rows.fraud[validation], on(validation))
    scored = on(test)
    print(f'  scored {len(wanted):,} rows in {time.monotonic() - started:.0f} s')
    return {
        'heldOut': metrics.held_out(rows, split, test, scored),
        'thresholds': {level: metrics.at_threshold(rows, test, scored, value) for level, value in thresholds.items()},
        'calibration': metrics.calibration(rows.fraud[test], scored),
    }


def print_table(results: list[dict]) -> None:
    print('\nheld-out days; stream = every payment, warm state; handbook week = its test week without known cards')
    print(f'{"model":16}{"parameters":>11}{"bytes":>9}{"us/row":>8}   {"AUC":>6}{"AP":>7}{"CP@100":>8}   {"AUC":>6}{"AP":>7}{"CP@100":>8}   review  decline')
    for r in results:
        cells = ''.join(f'   {f["aucRoc"]:.4f} {f["averagePrecision"]:.4f}  {f["cardPrecision100"]:.4f}' for f in (r['heldOut']['stream'], r['heldOut']['handbookWeek']))
        print(f'{r["name"]:16}{r["parameters"]:>11,}{r["bytes"]:>9,}{r["micros"]:>8.2f}{cells}   {r["thresholds"]["review"]["threshold"]:6.2f}{r["thresholds"]["decline"]["threshold"]:9.2f}')
    for r in results:
        for level, t in r['thresholds'].items():
            print(f'{r["name"]:16}{level:8} at {t["threshold"]:.2f}: {t["alertsADay"]} alerts a day, precision {t["precision"]}, recall {t["recall"]} '
                  f'(scenario 1 {t.get("recallScenario1")}, 2 {t.get("recallScenario2")}, 3 {t.get("recallScenario3")})')


if __name__ == '__main__':
    main()
