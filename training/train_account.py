"""Trains the models of account-risk and writes what they are worth: account-risk (a fraud within seven days), account-loss (what they cost), account-row (the plain baseline).

    python training/train_account.py --rows account-rows.parquet --transactions transactions.csv --out models/ [--seed 7]

The cut-off is a day: labels are known seven days after their payments, and a row asks for the seven days after it, so the last row that
may be learned from is fourteen days older. Its last two weeks are validation. Test rows come after the cut-off. Rows, seed and package versions
given, the same bytes of model.onnx come out on the same machine.
"""
from __future__ import annotations

import argparse
import copy
import json
import os
import time
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')

import numpy as np  # noqa: E402
import pyarrow.csv as pc  # noqa: E402
import torch  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

import export  # noqa: E402
import golden  # noqa: E402
from account_days import DAY_MS, FIRST_DAY, HORIZON_DAYS, Days, Frauds  # noqa: E402
from cost import spent  # noqa: E402
from manifest import manifest, write_manifest  # noqa: E402
from models import Normalise, parameter_count  # noqa: E402
from terminal_models import AttentionModel  # noqa: E402
from train_terminal import date_of, write_figures  # noqa: E402

CUT_OFF = 131                       # 2018-08-10
TRAIN = (30, CUT_OFF - 28)          # windows of 30 days have filled
VALIDATION = (CUT_OFF - 27, CUT_OFF - 14)
TEST = (CUT_OFF, 182 - HORIZON_DAYS)
LOSS_MAX = 2000.0                   # what account-loss can say at most; few weeks cost more
EPOCHS, BATCH, LEARNING_RATE, WEIGHT_DECAY, OTHERS_SHARE, PATIENCE = 8, 1024, 2e-3, 1e-3, 0.12, 3
EDGES = (0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0001)


class LogisticModel(nn.Module):
    """x [B, F] -> logit [B]: logistic regression on the newest row's standardised features."""

    kind = 'row'

    def __init__(self, x: np.ndarray):
        super().__init__()
        self.normalise, self.out = Normalise(x), nn.Linear(x.shape[1], 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.normalise(x)).squeeze(1)


class LossModel(AttentionModel):
    """x [B, W, F] -> logit [B]; `scale` times its sigmoid is the expected loss."""

    scale = LOSS_MAX
    meaning = 'value'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rows', type=Path, required=True, help='Parquet file of `harrier features --topology account-risk`')
    parser.add_argument('--transactions', type=Path, required=True, help='the payments that they were made from')
    parser.add_argument('--out', type=Path, default=Path('models'), help='folder of models (default: models)')
    parser.add_argument('--golden', type=Path, help='folder for golden rows and scores, for example test/golden/models')
    parser.add_argument('--figures', type=Path, default=Path('training/account.json'))
    parser.add_argument('--seed', type=int, default=7)
    options = parser.parse_args()
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    started = time.monotonic()

    def say(line: str) -> None:
        print(f'{line}  [{time.monotonic() - started:.0f} s]', flush=True)

    frauds = Frauds(options.transactions)
    days = Days(options.rows, frauds)
    train, validation, test = (days.within(*span) for span in (TRAIN, VALIDATION, TEST))
    at_once = days.within(*TEST, days=False)
    learned = np.sort(np.concatenate([train, days.within(*TRAIN, days=False)]))  # payments that were scored at once are learned from, too
    say(f'{days.days:,} days of customers, {len(days) - days.days:,} payments scored at once; a fraud follows within {HORIZON_DAYS} days on {days.fraud[test].mean():.2%} of {len(test):,} test days')

    made = {}
    made['account-row'] = logistic(days, learned, options.seed)
    for name, kind in (('account-risk', AttentionModel), ('account-loss', LossModel)):
        torch.manual_seed(options.seed)
        model = kind(days.x[learned], days.fraud[learned])
        made[name] = (model, fit(model, days, learned, validation, options.seed, say))
    scores = {name: predict(model, days, test) for name, (model, _) in made.items()}
    immediate = {name: predict(model, days, at_once) for name, (model, _) in made.items()}
    figures = measured(days, frauds, options.transactions, test, at_once, scores, immediate, days.loss[train][days.fraud[train] > 0].mean())
    figures['split'] = {key: f'{date_of(a)}..{date_of(b)}' for key, (a, b) in (('train', TRAIN), ('validation', VALIDATION), ('test', TEST))}
    figures['rows'] = {'sha256': days.digest, 'learned': len(learned), 'test': len(test), 'atOnce': len(at_once)}
    say(json.dumps({key: figures[key] for key in ('baseRate', 'bound')}))
    for name, found in figures['models'].items():
        say(f'{name}: {json.dumps({k: v for k, v in found.items() if k != "calibration"})}')
    for name, (model, fitted) in made.items():
        ship(options, days, name, model, fitted, learned, test, figures, say)
        figures['models'][name] |= {'parameters': parameter_count(model), **spent([fitted])}
    write_figures(options.figures, figures)


def logistic(days: Days, at: np.ndarray, seed: int):
    started, cpu = time.monotonic(), time.process_time()
    model = LogisticModel(days.x[at])
    z = model.normalise(torch.from_numpy(days.x[at])).numpy()
    fitted = LogisticRegression(C=1.0, max_iter=200, random_state=seed).fit(z, days.fraud[at])
    with torch.no_grad():
        model.out.weight.copy_(torch.from_numpy(fitted.coef_.astype(np.float32)))
        model.out.bias.copy_(torch.from_numpy(fitted.intercept_.astype(np.float32)))
    return model, {'epochs': int(fitted.n_iter_[0]), 'bestEpoch': int(fitted.n_iter_[0]), 'seconds': time.monotonic() - started, 'cpuSeconds': time.process_time() - cpu}


def losses(model, logits: Tensor, fraud: Tensor, loss: Tensor) -> Tensor:
    """Cross-entropy; of an amount the Poisson deviance, whose minimum is the mean as well: m - y ln m, in hundreds."""
    scale = getattr(model, 'scale', None)
    if scale is None:
        return F.binary_cross_entropy_with_logits(logits, fraud, reduction='none')
    mean = torch.sigmoid(logits) * (scale / 100)
    return mean - loss.clamp(max=scale) / 100 * (F.logsigmoid(logits) + float(np.log(scale / 100)))


def fit(model, days: Days, at: np.ndarray, validate_at: np.ndarray, seed: int, say) -> dict:
    """Trains in place: every row with a fraud ahead and a fresh sample of the others in each epoch, by their weight; keeps the best epoch."""
    generator = np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    bad, good = at[days.fraud[at] > 0], at[days.fraud[at] == 0]
    best, best_state, best_epoch, started, cpu = np.inf, None, 0, time.monotonic(), time.process_time()
    for epoch in range(EPOCHS):
        for group in optimiser.param_groups:
            group['lr'] = LEARNING_RATE * (0.04 + 0.96 * (0.5 + 0.5 * np.cos(np.pi * epoch / EPOCHS)))
        chosen = generator.permutation(np.concatenate([bad, generator.choice(good, int(len(good) * OTHERS_SHARE), replace=False)]))
        model.train()
        for begin in range(0, len(chosen), BATCH):
            part = chosen[begin:begin + BATCH]
            fraud, loss = torch.from_numpy(days.fraud[part]), torch.from_numpy(days.loss[part])
            weight = torch.where(fraud > 0, OTHERS_SHARE, 1.0)
            optimiser.zero_grad(set_to_none=True)
            ((losses(model, model(inputs(model, days, part)), fraud, loss) * weight).sum() / BATCH).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
        model.eval()
        with torch.no_grad():
            logits = torch.cat([model(inputs(model, days, validate_at[i:i + 4096])) for i in range(0, len(validate_at), 4096)])
            value = float(losses(model, logits, torch.from_numpy(days.fraud[validate_at]), torch.from_numpy(days.loss[validate_at])).mean())
        say(f'  {type(model).__name__} epoch {epoch + 1}/{EPOCHS}  validation {value:.5f}')
        if value < best:
            best, best_state, best_epoch = value, copy.deepcopy(model.state_dict()), epoch + 1
        elif epoch + 1 - best_epoch >= PATIENCE:
            break
    model.load_state_dict(best_state)
    return {'epochs': epoch + 1, 'bestEpoch': best_epoch, 'seconds': time.monotonic() - started, 'cpuSeconds': time.process_time() - cpu}


def inputs(model, days: Days, at: np.ndarray) -> Tensor:
    return torch.from_numpy(days.windows(at) if model.kind == 'window' else days.x[at])


@torch.no_grad()
def predict(model, days: Days, at: np.ndarray) -> np.ndarray:
    model.eval()
    return np.concatenate([(torch.sigmoid(model(inputs(model, days, at[i:i + 4096]))) * getattr(model, 'scale', 1)).numpy() for i in range(0, len(at), 4096)])


def measured(days: Days, frauds: Frauds, payments: Path, test: np.ndarray, at_once: np.ndarray, scores: dict, immediate: dict, mean_loss: float) -> dict:
    y, loss = days.fraud[test], days.loss[test]
    expected = {'account-row': scores['account-row'] * mean_loss, 'account-loss': scores['account-loss']}
    models = {name: {**quality(y, scores[name]), 'calibration': bands(y, scores[name]), 'atOnce': quality(days.fraud[at_once], immediate[name])} for name in ('account-risk', 'account-row')}
    models['account-loss'] = {}
    for name, values in expected.items():
        models[name]['loss'] = {'expected': rounded(values.mean()), 'realised': rounded(loss.mean()), 'meanAbsoluteError': rounded(np.abs(values - loss).mean()), 'deciles': deciles(values, loss)}
    models['account-loss']['atOnce'] = {'expected': rounded(immediate['account-loss'].mean()), 'realised': rounded(days.loss[at_once].mean())}
    base = float(days.fraud[days.within(*TRAIN)].mean())
    return {'baseRate': {'share': round(base, 4), 'brier': round(float(brier_score_loss(y, np.full(len(y), base))), 5)}, 'bound': bound(days, frauds, payments, test), 'models': models}


def quality(y: np.ndarray, scores: np.ndarray) -> dict:
    return {
        'rows': len(y), 'share': round(float(y.mean()), 4), 'meanScore': round(float(scores.mean()), 4), 'aucRoc': round(float(roc_auc_score(y, scores)), 4),
        'averagePrecision': round(float(average_precision_score(y, scores)), 4), 'brier': round(float(brier_score_loss(y, scores)), 5), 'calibrationError': round(calibration_error(y, scores), 5),
    }


def calibration_error(y: np.ndarray, scores: np.ndarray) -> float:
    """Mean distance of score and share over twenty groups of like size."""
    groups = np.array_split(np.argsort(scores, kind='stable'), 20)
    return float(sum(abs(scores[g].mean() - y[g].mean()) * len(g) for g in groups) / len(y))


def bands(y: np.ndarray, scores: np.ndarray) -> list[dict]:
    """Mean score against the share of days with a fraud ahead, with the 95 % interval of a share of so many days."""
    found = []
    for low, high in zip(EDGES, EDGES[1:]):
        here = (scores >= low) & (scores < high)
        if not here.any():
            continue
        n, share = int(here.sum()), float(y[here].mean())
        z, centre = 1.96, (share + 1.96 ** 2 / 2 / n) / (1 + 1.96 ** 2 / n)
        half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / 4 / n / n)
        found.append({'from': low, 'rows': n, 'meanScore': round(float(scores[here].mean()), 4), 'share': round(share, 4), 'low': round(max(0.0, float(centre - half)), 4), 'high': round(min(1.0, float(centre + half)), 4)})
    return found


def deciles(values: np.ndarray, loss: np.ndarray) -> list[dict]:
    groups = np.array_split(np.argsort(values, kind='stable'), 10)
    return [{'decile': i + 1, 'expected': rounded(values[g].mean()), 'realised': rounded(loss[g].mean())} for i, g in enumerate(groups)]


def bound(days: Days, frauds: Frauds, payments: Path, test: np.ndarray) -> dict:
    """What nobody can foresee at the end of a day: frauds of compromises that begin later. The best that one could do who knew all the others."""
    began = np.maximum(frauds.begun('terminal', 2, 28), frauds.begun('customer', 3, 14))
    customer, time_ms, y = days.customer[test], days.time_ms[test], days.fraud[test] > 0
    known = np.zeros(len(test), dtype=bool)
    # A fraud counts where its compromise had shown by then; one by its amount alone counts always.
    for offset in range(HORIZON_DAYS):
        low, high = time_ms + offset * DAY_MS, time_ms + (offset + 1) * DAY_MS
        span = 1 << 45
        keys = frauds.customer * span + frauds.time_ms
        first, past = np.searchsorted(keys, customer * span + low, side='right'), np.searchsorted(keys, customer * span + high, side='right')
        for step in range(int((past - first).max())):
            at = np.minimum(first + step, len(keys) - 1)
            known |= (first + step < past) & (began[at] <= time_ms)
    perfect = known.astype(float)  # the rest of the days are all alike to it
    state = state_bound(payments, frauds, customer, time_ms)
    kinds = {s: int((frauds.after(customer, time_ms, (frauds.scenario == s).astype(float)) > 0).sum()) for s in (1, 2, 3)}
    return {'positive': int(y.sum()), 'foreseeable': round(float(known[y].mean()), 4), 'aucRoc': round(float(roc_auc_score(y, perfect)), 4), 'averagePrecision': round(float(average_precision_score(y, perfect)), 4), 'byScenario': kinds,
            'state': {'aucRoc': round(float(roc_auc_score(y, state)), 4), 'averagePrecision': round(float(average_precision_score(y, state)), 4), 'brier': round(float(brier_score_loss(y, state)), 5)}}


def state_bound(file: Path, frauds: Frauds, customer: np.ndarray, time_ms: np.ndarray) -> np.ndarray:
    """The probability of a fraud for one who knows the simulator's state at the end of the day, and not the dice it throws afterwards: how often each
    customer pays, at which terminals and how often above the limit (from the whole of the data), and every compromise that has shown itself with its end."""
    table = pc.read_csv(file)
    payer, terminal = table['customer_id'].to_numpy().astype(np.int64), table['terminal_id'].to_numpy().astype(np.int64)
    customers, terminals = int(payer.max()) + 1, int(terminal.max()) + 1
    rate = np.bincount(payer, minlength=customers) / 183  # payments a day
    pairs, times = np.unique(payer * terminals + terminal, return_counts=True)
    owner, share = pairs // terminals, times / np.bincount(payer, minlength=customers)[pairs // terminals]
    high = np.bincount(frauds.customer[frauds.scenario == 1], minlength=customers) / 183
    day, end = time_ms // DAY_MS, np.zeros(terminals)
    expected = high[customer] * HORIZON_DAYS  # frauds of the seven days, as a Poisson number
    by_terminal, by_customer = frauds.begun('terminal', 2, 28), frauds.begun('customer', 3, 14)
    for today in np.unique(day):
        here, now = day == today, (today + 1) * DAY_MS - 1
        end[:] = 0
        of = (frauds.scenario == 2) & (by_terminal <= now)
        np.maximum.at(end, frauds.terminal[of], by_terminal[of] + 28 * DAY_MS)
        left = np.clip((end - now) / DAY_MS, 0, HORIZON_DAYS)
        exposed = np.bincount(owner, share * left[pairs % terminals], minlength=customers)
        of = (frauds.scenario == 3) & (by_customer <= now)
        until = np.zeros(customers)
        np.maximum.at(until, frauds.customer[of], by_customer[of] + 14 * DAY_MS)
        expected[here] += rate[customer[here]] * (exposed[customer[here]] + np.clip((until[customer[here]] - now) / DAY_MS, 0, HORIZON_DAYS) / 3)
    return 1 - np.exp(-expected)


def ship(options: argparse.Namespace, days: Days, name: str, model: nn.Module, fitted: dict, learned: np.ndarray, test: np.ndarray, figures: dict, say) -> None:
    file = options.out / name / '1' / 'model.onnx'
    sha256 = export.export(model, len(days.names), file)
    x, h = export.check_inputs(days, model.kind, 0, days.within(0, CUT_OFF - 1), test, options.seed)
    export.check_batch_equality(file, model.kind, x, h)
    at = golden.choose(days, test, (3,), options.seed)
    difference = golden.check(model, days, at, file)
    golden.write_beside(model, days, at[:golden.BESIDE], file)
    if options.golden:
        golden.write_rows(days, at[:12], options.golden / 'account-rows.json')
        golden.write_scores(model, name, sha256, days, at[:12], options.golden)
    micros = {str(size): round(export.microseconds_a_row(file, model.kind, x, h, size), 2) for size in (1, 256)}
    say(f'  {file}: {file.stat().st_size:,} bytes, PyTorch within {difference:.1e}, {micros["1"]} us a row at batch 1, {micros["256"]} at 256')
    training = {
        'data': f'transaction simulator with the published seeds, {len(days):,} rows, sha256 {days.digest}',
        'command': f'python training/train_account.py --rows account-rows.parquet --transactions transactions.csv --seed {options.seed}', 'seed': options.seed,
        'rows': len(learned), 'parameters': parameter_count(model), 'split': figures['split'], 'epochs': fitted['epochs'], 'bestEpoch': fitted['bestEpoch'],
        **spent([fitted]), 'torch': torch.__version__.split('+')[0], 'microsecondsARow': micros,
    }
    write_manifest(file.parent, manifest(name, model.kind, 0, days.names, sha256, training, {'heldOut': figures['models'][name]}, getattr(model, 'meaning', 'probability')))


def rounded(value: float) -> float:
    return round(float(value), 2)


if __name__ == '__main__':
    main()
