"""Quix Streams peer: StreamingDataFrame with RocksDB state and changelog, exactly-once.   usage: peer.py W1|W2"""
import os, sys
import numpy as np, onnxruntime as ort
from math import log1p, sin, cos, pi
from quixstreams import Application

WINDOW, RUN = sys.argv[1] == "W1", os.environ["RUN_ID"]
W, F, H = 32, 8, 64
so = ort.SessionOptions()
so.intra_op_num_threads = so.inter_op_num_threads = 1
so.add_session_config_entry("session.intra_op.allow_spinning", "0")
model = ort.InferenceSession(f"{os.environ['MODELS']}/gru_{'window' if WINDOW else 'step'}.onnx", so, providers=["CPUExecutionProvider"])

# one value per card: count, last ts, last 32 amounts (oldest first), then W1: 32 feature vectors, W2: hidden state
CARD = np.dtype([("count", "<i8"), ("ts", "<i8"), ("amounts", "<f8", W), ("m", "<f4", (W, F) if WINDOW else H)])


def score(tx, state):
    raw = state.get_bytes("card")
    s = np.frombuffer(bytearray(raw), CARD) if raw else np.zeros(1, CARD)
    amounts, m = s["amounts"][0], s["m"][0]
    count, last, amount, ts = int(s["count"][0]) + 1, int(s["ts"][0]), tx["amount"], tx["ts"]
    n = min(count, W)
    amounts[:-1] = amounts[1:]
    amounts[-1] = amount
    hour, dow = ts // 3_600_000 % 24, (ts // 86_400_000 + 4) % 7
    f = (log1p(amount), amount / (float(amounts.sum()) / n), sin(2 * pi * hour / 24), cos(2 * pi * hour / 24),
         log1p((ts - last) / 1000) if count > 1 else 0.0, log1p(n), float(dow in (0, 6)), float(hour <= 6))
    if WINDOW:
        m[:-1] = m[1:]
        m[-1] = f
        v = model.run(None, {"x": m[None]})[0][0]
    else:
        v, h = model.run(None, {"x": np.array([f], np.float32), "h": m[None]})
        m[:] = h[0]
        v = v[0]
    s["count"], s["ts"] = count, ts
    state.set_bytes("card", s.tobytes())
    return {"id": tx["id"], "card_id": tx["card_id"], "score": round(float(v), 8), "model": "gru@1"}


STATE = f"{os.environ['PEERS_HOME']}/state/{RUN}/{os.getpid() if 'OWN_STATE' in os.environ else 0}"
app = Application(os.environ["BROKER"], consumer_group=RUN, auto_offset_reset="earliest", processing_guarantee="exactly-once",
                  commit_interval=float(os.environ.get("COMMIT", 0.1)), state_dir=STATE, auto_create_topics=True,
                  producer_extra_config={"compression.type": "lz4", "partitioner": "murmur2_random"}, loglevel="WARNING")
out = app.topic("bench.scored", key_serializer="bytes", value_serializer="json")
sdf = app.dataframe(app.topic("bench.tx", value_deserializer="json"))
sdf.apply(score, stateful=True).to_topic(out)
app.run()
