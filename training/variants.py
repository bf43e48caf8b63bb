"""Other forms of card-attention, made from its ONNX file: with a carried cache, in int8 and in float16.

    python training/variants.py --model models/card-attention/1 --rows test/golden/models/rows.json --out variants/

Writes model folders that `harrier models test`, `register` and `backtest --model-folder` take. docs/models.md, "Other forms of a model", says what they
are worth.
"""
from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import yaml
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.transformers.float16 import convert_float_to_float16

CLAMP = 10.0
MASKED = -1e4


def carried(file: Path) -> onnx.ModelProto:
    """The block of models.AttentionModel as one step: x [B, F], c [B, W - 1, D + 1] -> score [B], c_next.

    The cache holds the embedding of each row before its place in the window is added, and whether there is a row: what of keys and values does not
    change when the window moves on. The score is computed by the operators of the window form, over the same numbers.
    """
    weights = {each.name: numpy_helper.to_array(each) for each in onnx.load(file).graph.initializer}
    embed, = (name for name in weights if name.startswith('onnx::MatMul'))
    features, width = weights[embed].shape
    window = len(weights['model.position'])
    heads = len(weights['model.query.bias']) // width
    nodes = []

    def constant(name: str, value: object, dtype: type = np.float32) -> str:
        weights[name] = np.asarray(value, dtype)
        return name

    def node(operator: str, inputs: list[str], output: str, **attributes: object) -> str:
        nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def ints(*values: int) -> str:
        return constant('ints_' + '_'.join(map(str, values)), values, np.int64)

    most = node('ReduceMax', [node('Abs', ['x'], 'sizes')], 'most', axes=[1], keepdims=1)
    real = node('Cast', [node('Greater', [most, constant('none', 0)], 'is_real')], 'real', to=TensorProto.FLOAT)
    scaled = node('Mul', [node('Sub', ['x', 'model.normalise.mean'], 'centred'), 'model.normalise.scale'], 'scaled')
    z = node('Clip', [scaled, constant('low', -CLAMP), constant('high', CLAMP)], 'z')
    row = node('Concat', [node('Add', [node('MatMul', [z, embed], 'mapped'), 'model.embed.bias'], 'embedded'), real], 'row', axis=1)
    every = node('Concat', ['c', node('Unsqueeze', [row, ints(1)], 'step')], 'every', axis=1)
    node('Slice', [every, ints(1), constant('to_window', [window], np.int64), ints(1)], 'c_next')
    embeddings = node('Slice', [every, ints(0), constant('to_width', [width], np.int64), ints(2)], 'embeddings')
    mask = node('Slice', [every, 'to_width', constant('to_end', [width + 1], np.int64), ints(2)], 'mask')
    rows = node('Relu', [node('Add', [embeddings, 'model.position'], 'placed')], 'rows')
    newest = node('Gather', [rows, constant('last', window - 1, np.int64)], 'newest', axis=1)
    query = node('Gemm', [newest, 'model.query.weight', 'model.query.bias'], 'query', transB=1)
    queries = node('Reshape', [query, ints(-1, heads, width)], 'queries')
    logits = node('Mul', [node('MatMul', [queries, node('Transpose', [rows], 'turned', perm=[0, 2, 1])], 'products'), constant('scale', width ** -0.5)], 'logits')
    padding = node('Transpose', [node('Sub', [constant('one', 1), mask], 'padding')], 'padding_turned', perm=[0, 2, 1])
    masked = node('Add', [logits, node('Mul', [padding, constant('masked', MASKED)], 'penalty')], 'masked_logits')
    seen = node('MatMul', [node('Softmax', [masked], 'weights', axis=2), rows], 'seen')
    value = node('Gemm', [node('Reshape', [seen, ints(-1, heads * width)], 'seen_flat'), 'model.value.weight', 'model.value.bias'], 'value', transB=1)
    together = node('Concat', [node('Relu', [value], 'context'), newest, z], 'together', axis=1)
    hidden = node('Relu', [node('Gemm', [together, 'model.head.0.weight', 'model.head.0.bias'], 'head', transB=1)], 'hidden')
    logit = node('Gemm', [hidden, 'model.head.2.weight', 'model.head.2.bias'], 'logit', transB=1)
    node('Sigmoid', [node('Squeeze', [logit, ints(1)], 'flat')], 'score')
    tensor = lambda name, *shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, ['batch', *shape])
    cache = (window - 1, width + 1)
    graph = helper.make_graph(nodes, 'carried', [tensor('x', features), tensor('c', *cache)], [tensor('score'), tensor('c_next', *cache)], [numpy_helper.from_array(value, name) for name, value in weights.items()])
    return finished(graph)


def finished(graph: onnx.GraphProto) -> onnx.ModelProto:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)])
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    return model


def windows_of(sequence: list[list[float]], window: int) -> np.ndarray:
    """[T, W, F]: the window at each row, with zeros before the first."""
    rows = np.asarray(sequence, np.float32)
    padded = np.concatenate([np.zeros((window - 1, rows.shape[1]), np.float32), rows])
    return np.stack([padded[at:at + window] for at in range(len(rows))])


class Calibration(CalibrationDataReader):
    """Windows whose values say in which range each tensor lies. The ranges are fixed then: with `quantize_dynamic` they are those of a batch, and an
    event's score hangs on what it is scored with."""

    def __init__(self, windows: np.ndarray):
        self.batches = iter([{'x': windows}])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.batches, None)


def write(source: Path, out: Path, name: str, file: Path, changes: dict[str, object], equal: bool = False) -> None:
    """The folder of a form: its file, the manifest of the model with these changes, and golden rows: with the model's own scores where it must be its
    equal, else with those of the form in onnxruntime."""
    folder = out / name / '1'
    folder.mkdir(parents=True, exist_ok=True)
    shutil.move(file, folder / 'model.onnx')
    manifest = yaml.safe_load((source / 'model.yaml').read_text())
    for key in ('metrics', 'card', 'training'):
        manifest.pop(key, None)
    manifest |= {'name': name, 'version': 1, 'sha256': hashlib.sha256((folder / 'model.onnx').read_bytes()).hexdigest()} | changes
    (folder / 'model.yaml').write_text(yaml.safe_dump({key: value for key, value in manifest.items() if value is not None}, sort_keys=False, width=160))
    golden = json.loads((source / 'golden.json').read_text())
    if not equal:
        session = ort.InferenceSession(folder / 'model.onnx', providers=['CPUExecutionProvider'])
        for sequence in golden['sequences']:
            sequence['scores'] = [float(session.run(None, {'x': window[None]})[0][0]) for window in windows_of(sequence['rows'], manifest['window'])]
        golden |= {'source': f'onnxruntime {ort.__version__}'}
    (folder / 'golden.json').write_text(json.dumps(golden))
    print(f'{folder}: {(folder / "model.onnx").stat().st_size:,} bytes')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--model', type=Path, default=Path('models/card-attention/1'), help='folder of the window model')
    parser.add_argument('--rows', type=Path, default=Path('test/golden/models/rows.json'), help='sequences of feature rows, to calibrate int8')
    parser.add_argument('--out', type=Path, required=True, help='folder of models for the forms')
    options = parser.parse_args()
    source, out = options.model, options.out
    out.mkdir(parents=True, exist_ok=True)
    file, made = source / 'model.onnx', out / 'made.onnx'

    step = carried(file)
    onnx.save(step, made)
    cache = [each.dim_value for each in step.graph.input[1].type.tensor_type.shape.dim[1:]]
    write(source, out, 'card-attention-carried', made, {
        'kind': 'recurrent', 'window': None, 'layout': None, 'states': [{'shape': cache}], 'inputs': [{'name': 'x', 'what': 'features'}, {'name': 'c', 'what': 'state:0'}],
        'outputs': [{'name': 'score', 'what': 'score'}, {'name': 'c_next', 'what': 'next-state:0'}], 'description': 'card-attention as one step over a carried cache of the rows before.', 'reasons': None,
    }, equal=True)
    rows = np.concatenate([windows_of(each['rows'], cache[0] + 1) for each in json.loads(options.rows.read_text())['sequences']])
    quantize_static(file, made, Calibration(rows), quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, per_channel=True, op_types_to_quantize=['MatMul', 'Gemm'])
    write(source, out, 'card-attention-int8', made, {'description': 'card-attention with weights and activations in int8, in ranges that were calibrated once.'})
    onnx.save(convert_float_to_float16(onnx.load(file), keep_io_types=True), made)
    write(source, out, 'card-attention-fp16', made, {'description': 'card-attention in float16, with float32 outside.'})


if __name__ == '__main__':
    main()
