"""Runs the graph of a shipped ONNX file with PyTorch's kernels, so that PyTorch's scores can be had from the file alone."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper


def attributes(node: onnx.NodeProto) -> dict:
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def gemm(a, b, c=None, alpha=1.0, beta=1.0, transA=0, transB=0):
    product = alpha * ((a.T if transA else a) @ (b.T if transB else b))
    return product if c is None else product + beta * c


def split(x, sizes=None, axis=0, **_):
    return torch.split(x, sizes.tolist(), dim=axis)


def reshape(x, shape, **_):
    return x.reshape([x.shape[i] if n == 0 else n for i, n in enumerate(shape.tolist())])


def reduced_max(x, axes, keepdims=1, **_):
    return x.amax(dim=tuple(axes), keepdim=bool(keepdims))


def cast(x, to):
    return x.to(torch.from_numpy(np.zeros(0, dtype=onnx.helper.tensor_dtype_to_np_dtype(to))).dtype)


OPERATORS = {
    'Abs': torch.abs, 'Add': torch.add, 'Cast': cast, 'Clip': lambda x, low=None, high=None: torch.clamp(x, low, high), 'Concat': lambda *x, axis: torch.cat(x, dim=axis),
    'Gather': lambda x, at, axis=0: x.select(axis, int(at)) if at.ndim == 0 else torch.index_select(x, axis, at), 'Gemm': gemm, 'Greater': torch.gt,
    'Identity': lambda x: x, 'MatMul': torch.matmul, 'Mul': torch.mul, 'ReduceMax': reduced_max, 'Relu': torch.relu, 'Reshape': reshape, 'Sigmoid': torch.sigmoid,
    'Softmax': lambda x, axis=-1: torch.softmax(x, dim=axis), 'Split': split, 'Squeeze': lambda x, axes: x.squeeze(tuple(axes.tolist())), 'Sub': torch.sub,
    'Tanh': torch.tanh, 'Transpose': lambda x, perm: x.permute(*perm),
}


class TorchGraph:
    """`run` takes and gives what an InferenceSession's does."""

    def __init__(self, file: Path):
        self.graph = onnx.load(file).graph
        self.constants = {i.name: torch.from_numpy(np.array(numpy_helper.to_array(i))) for i in self.graph.initializer}

    @torch.no_grad()
    def run(self, _, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        values = {**self.constants, **{name: torch.from_numpy(x) for name, x in feeds.items()}}
        for node in self.graph.node:
            given = attributes(node)
            if node.op_type == 'Constant':
                out = torch.from_numpy(np.array(numpy_helper.to_array(given['value'])))
            else:
                out = OPERATORS[node.op_type](*(values[name] if name else None for name in node.input), **given)
            values.update(zip(node.output, out if isinstance(out, tuple) else (out,)))
        return [values[output.name].numpy() for output in self.graph.output]
