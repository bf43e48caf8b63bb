"""A trained model as ONNX, and the checks that every exported file must pass before it is kept."""
from __future__ import annotations

import hashlib
import time
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch

from models import Scorer
from rows import WINDOW, Sequences

OPSET = 17
FILE_BYTES_MAX = 300_000
CHECK_ROWS = 1000
BATCH_SIZES = (1, 2, 3, 7, 8, 16, 31, 64, 256, 1000)
OPERATORS = {  # all of them run on onnxruntime's CPU and WebGPU providers
    'Abs', 'Add', 'Cast', 'Clip', 'Concat', 'Constant', 'Gather', 'Gemm', 'Greater', 'Identity', 'MatMul', 'Mul', 'ReduceMax', 'Relu',
    'Reshape', 'Sigmoid', 'Softmax', 'Split', 'Squeeze', 'Sub', 'Tanh', 'Transpose',
}


def tensor_names(kind: str) -> tuple[list[str], list[str]]:
    return (['x', 'h'], ['score', 'h_next']) if kind == 'recurrent' else (['x'], ['score'])


def example(kind: str, features: int, hidden: int, batch: int) -> tuple[torch.Tensor, ...]:
    shapes = {'row': [(batch, features)], 'window': [(batch, WINDOW, features)], 'recurrent': [(batch, features), (batch, hidden)]}
    return tuple(torch.zeros(shape) for shape in shapes[kind])


def export(model: torch.nn.Module, features: int, file: Path) -> str:
    """Writes the file and returns its sha256. Only the batch dimension is free; no shape is computed in the graph."""
    inputs, outputs = tensor_names(model.kind)
    file.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # the exporter warns that a newer one exists; it needs another package and adds shape arithmetic
        torch.onnx.export(
            Scorer(model).eval(), example(model.kind, features, getattr(model, 'hidden', 0), 2), file, dynamo=False, opset_version=OPSET,
            input_names=inputs, output_names=outputs, dynamic_axes={name: {0: 'batch'} for name in (*inputs, *outputs)},
        )
    graph = onnx.load(file)
    onnx.checker.check_model(graph, full_check=True)
    strange = {node.op_type for node in graph.graph.node} - OPERATORS
    if strange:
        raise SystemExit(f'{file}: operators outside the portable set: {sorted(strange)}')
    if file.stat().st_size > FILE_BYTES_MAX:
        raise SystemExit(f'{file}: {file.stat().st_size} bytes, more than {FILE_BYTES_MAX}')
    return hashlib.sha256(file.read_bytes()).hexdigest()


def session(file: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(file, options, providers=['CPUExecutionProvider'])


def feeds(kind: str, x: np.ndarray, h: np.ndarray | None) -> dict[str, np.ndarray]:
    return {'x': x, 'h': h} if kind == 'recurrent' else {'x': x}


def check_inputs(rows: Sequences, kind: str, hidden: int, early: np.ndarray, late: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Real rows of the positions `early` where their sequences begin, and of `late` (windows, padded and full); for a recurrent model also hidden states in its range."""
    generator = np.random.default_rng(seed)
    starts = early[early - rows.first[early] < WINDOW - 1]
    pools = (starts, late) if len(starts) else (late,)
    at = np.concatenate([generator.choice(pool, CHECK_ROWS // len(pools)) for pool in pools])
    x = rows.windows(at) if kind == 'window' else rows.x[at]
    return x, np.tanh(generator.standard_normal((len(at), hidden))).astype(np.float32) if kind == 'recurrent' else None


def check_batch_equality(file: Path, kind: str, x: np.ndarray, h: np.ndarray | None) -> int:
    """Runs the same rows (1000 or more) at every batch size; each output row must have the same bits. Returns the rows compared."""
    run = session(file)
    whole = run.run(None, feeds(kind, x, h))
    for size in BATCH_SIZES:
        for begin in range(0, len(x), size):
            part = slice(begin, begin + size)
            outputs = run.run(None, feeds(kind, x[part], None if h is None else h[part]))
            for ours, all_at_once in zip(outputs, whole):
                if ours.tobytes() != np.ascontiguousarray(all_at_once[part]).tobytes():
                    raise SystemExit(f'{file}: rows {begin}.. at batch size {size} have other bits than at {len(x)}')
    return len(x)


def microseconds_a_row(file: Path, kind: str, x: np.ndarray, h: np.ndarray | None, batch: int, seconds: float = 0.5) -> float:
    """Best mean of five rounds, one thread."""
    run, best = session(file), float('inf')
    feed = feeds(kind, x[:batch], None if h is None else h[:batch])
    for _ in range(5):
        runs, started = 0, time.perf_counter()
        while time.perf_counter() - started < seconds / 5:
            run.run(None, feed)
            runs += 1
        best = min(best, (time.perf_counter() - started) / runs / batch * 1e6)
    return best
