"""Python peer: confluent-kafka + onnxruntime + numpy.   usage: peer.py W1|W2
Batches of up to BATCH (1000) events, one transaction each; state in numpy arrays in memory (it does not survive a
restart). Events of one card in a batch go in rounds: round k holds each card's k-th event, so rounds vectorise."""
import os, sys
import numpy as np, onnxruntime as ort, orjson
from confluent_kafka import Consumer, Producer, TopicPartition

WINDOW, BATCH, RUN = sys.argv[1] == "W1", int(os.environ.get("BATCH", 1000)), os.environ["RUN_ID"]
PROCS = int(os.environ.get("PROCS", 1))
W, F, H, B = 32, 8, 64, os.environ["BROKER"]

so = ort.SessionOptions()
so.intra_op_num_threads = so.inter_op_num_threads = 1
so.add_session_config_entry("session.intra_op.allow_spinning", "0")
model = ort.InferenceSession(f"{os.environ['MODELS']}/gru_{'window' if WINDOW else 'step'}.onnx", so, providers=["CPUExecutionProvider"])

slot_of, cap = {}, 1024                                       # card -> row
count, last_ts, amounts = np.zeros(cap, np.int64), np.zeros(cap, np.int64), np.zeros((cap, W))
memory = np.zeros((cap, W, F) if WINDOW else (cap, H), np.float32)
AR = np.arange(W)


def grow():
    global cap, count, last_ts, amounts, memory
    count, last_ts, amounts, memory = (np.concatenate([a, np.zeros_like(a)]) for a in (count, last_ts, amounts, memory))
    cap *= 2


def features(s, amount, ts):                                  # rows s are distinct cards
    pos, n = count[s] % W, np.minimum(count[s] + 1, W)
    amounts[s, pos] = amount
    hour = ts // 3_600_000 % 24
    dow = (ts // 86_400_000 + 4) % 7
    f = np.empty((len(s), F), np.float32)
    f[:, 0] = np.log1p(amount)
    f[:, 1] = amount / (amounts[s].sum(1) / n)
    f[:, 2] = np.sin(2 * np.pi * hour / 24)
    f[:, 3] = np.cos(2 * np.pi * hour / 24)
    f[:, 4] = np.where(n == 1, 0, np.log1p((ts - last_ts[s]) / 1000))
    f[:, 5] = np.log1p(n)
    f[:, 6] = (dow == 0) | (dow == 6)
    f[:, 7] = hour <= 6
    count[s] += 1
    last_ts[s] = ts
    return f, pos


def score(txs):
    slots, rounds, seen = np.empty(len(txs), np.int64), np.empty(len(txs), np.int64), {}
    for i, t in enumerate(txs):
        c = t["card_id"]
        s = slot_of.get(c)
        if s is None:
            s = slot_of[c] = len(slot_of)
            if s == cap: grow()
        slots[i] = s
        rounds[i] = k = seen.get(c, 0)
        seen[c] = k + 1
    amount = np.array([t["amount"] for t in txs])
    ts = np.array([t["ts"] for t in txs], np.int64)
    out = np.empty(len(txs), np.float32)
    x = np.empty((len(txs), W, F), np.float32) if WINDOW else None
    for k in range(rounds.max() + 1):
        idx = np.nonzero(rounds == k)[0]
        s = slots[idx]
        f, pos = features(s, amount[idx], ts[idx])
        if WINDOW:
            memory[s, pos] = f                                # ring; unused slots are zero, so padding comes out first
            x[idx] = memory[s[:, None], (pos[:, None] + 1 + AR) % W]
        else:
            out[idx], memory[s] = model.run(None, {"x": f, "h": memory[s]})
    return model.run(None, {"x": x})[0] if WINDOW else out


def main(me):
    c = Consumer({"bootstrap.servers": B, "group.id": RUN, "enable.auto.commit": False, "auto.offset.reset": "earliest",
                  "isolation.level": "read_committed"})
    p = Producer({"bootstrap.servers": B, "transactional.id": f"{RUN}-{os.getpid()}", "compression.type": "lz4", "linger.ms": 5,
                  "partitioner": "murmur2_random", "queue.buffering.max.messages": 1_000_000})
    p.init_transactions()
    if PROCS == 1: c.subscribe(["bench.tx"])                  # more processes: fixed partitions, as a rebalance would lose state
    else: c.assign([TopicPartition("bench.tx", q) for q in range(4) if q % PROCS == me])
    while True:
        msgs = [m for m in c.consume(BATCH, 0.02) if not m.error()]
        if not msgs: continue
        p.begin_transaction()
        txs = [orjson.loads(m.value()) for m in msgs]
        scores = score(txs).tolist()
        ends = {}
        for m, t, v in zip(msgs, txs, scores):
            p.produce("bench.scored", orjson.dumps({"id": t["id"], "card_id": t["card_id"], "score": round(v, 8), "model": "gru@1"}), m.key())
            ends[m.partition()] = m.offset() + 1
        p.send_offsets_to_transaction([TopicPartition("bench.tx", q, o) for q, o in ends.items()], c.consumer_group_metadata())
        p.commit_transaction()


me = 0
for i in range(1, PROCS):
    if os.fork() == 0: me = i; break
main(me)
