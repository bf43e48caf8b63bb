"""Gradient boosted trees, and their ONNX file: the same sums in float32 as onnxruntime's tree ensemble makes them."""
from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper
from sklearn.ensemble import HistGradientBoostingClassifier

from export import OPSET

TREES_OPSET = 3


def boosting(seed: int, trees: int, leaves: int, smallest_leaf: int) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(
        learning_rate=0.06, max_iter=trees, max_leaf_nodes=leaves, l2_regularization=1.0, min_samples_leaf=smallest_leaf, early_stopping=False, random_state=seed,
    )


def export(model: HistGradientBoostingClassifier, features: int, file: Path) -> str:
    """Writes the file and returns its sha256. x [B, F] -> score [B]."""
    nodes = {key: [] for key in ('treeids', 'nodeids', 'featureids', 'modes', 'values', 'truenodeids', 'falsenodeids', 'missing_value_tracks_true')}
    leaves = {key: [] for key in ('treeids', 'nodeids', 'ids', 'weights')}
    for tree, (predictor,) in enumerate(model._predictors):
        for i, node in enumerate(predictor.nodes):
            leaf = bool(node['is_leaf'])
            nodes['treeids'].append(tree)
            nodes['nodeids'].append(i)
            nodes['featureids'].append(0 if leaf else int(node['feature_idx']))
            nodes['modes'].append('LEAF' if leaf else 'BRANCH_LEQ')
            nodes['values'].append(0.0 if leaf else float(float32_below(node['num_threshold'])))
            nodes['truenodeids'].append(0 if leaf else int(node['left']))
            nodes['falsenodeids'].append(0 if leaf else int(node['right']))
            nodes['missing_value_tracks_true'].append(0)
            if leaf:
                leaves['treeids'].append(tree)
                leaves['nodeids'].append(i)
                leaves['ids'].append(0)
                leaves['weights'].append(float(np.float32(node['value'])))
    ensemble = helper.make_node(
        'TreeEnsembleRegressor', ['x'], ['sum'], domain='ai.onnx.ml', n_targets=1, aggregate_function='SUM', post_transform='NONE',
        base_values=[float(np.float32(np.ravel(model._baseline_prediction)[0]))],
        **{f'nodes_{key}': value for key, value in nodes.items()}, **{f'target_{key}': value for key, value in leaves.items()},
    )
    graph = helper.make_graph(
        [ensemble, helper.make_node('Sigmoid', ['sum'], ['probability']), helper.make_node('Squeeze', ['probability', 'axis'], ['score'])], 'trees',
        [helper.make_tensor_value_info('x', TensorProto.FLOAT, ['batch', features])], [helper.make_tensor_value_info('score', TensorProto.FLOAT, ['batch'])],
        [helper.make_tensor('axis', TensorProto.INT64, [1], [1])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid('', OPSET), helper.make_opsetid('ai.onnx.ml', TREES_OPSET)], ir_version=8)
    onnx.checker.check_model(made, full_check=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(made.SerializeToString(deterministic=True))
    return hashlib.sha256(file.read_bytes()).hexdigest()


def float32_below(threshold: float) -> np.float32:
    """The largest float32 that is at most the threshold, so that each float32 goes the same way as in float64."""
    value = np.float32(threshold)
    return value if float(value) <= threshold else np.nextafter(value, np.float32(-np.inf))
