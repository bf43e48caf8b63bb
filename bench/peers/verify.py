"""Read the scored topic (read_committed; JSON, or Harrier's Avro): count, missing ids, duplicates, per-card order.
usage: verify.py N [scores.npy]   keeps all scores;   verify.py --compare a.npy b.npy ..."""
import io, json, os, sys
import fastavro, numpy as np, orjson
from confluent_kafka import Consumer, TopicPartition, OFFSET_BEGINNING

if sys.argv[1] == "--compare":
    names = sys.argv[2:]
    a = [np.load(f) for f in names]
    for n, x in zip(names, a):
        k = min(len(x), len(a[0]))                               # topics of any length start with the same events
        d = np.abs(x[:k] - a[0][:k])
        print(f"{n}: mean={x[:k].mean():.6f} sd={x[:k].std():.6f} max|diff to first|: ids<10,000 {d[:10_000].max():.2g}, all {k} {d.max():.2g}")
    sys.exit()

N, broker, OUT = int(sys.argv[1]), os.environ["BROKER"], os.environ["OUT_TOPIC"]
schema = fastavro.parse_schema(json.load(open(os.path.dirname(os.path.abspath(__file__)) + "/../../schemas/scored-event.avsc")))


def decoded(b):
    if OUT == "bench.scored": return orjson.loads(b)
    e = fastavro.schemaless_reader(io.BytesIO(b[5:]), schema)     # a zero byte and the schema's id come first
    return {"id": e["event_id"], "card_id": e["entity"], "score": e["score"], "model": "gru@1" if e["model"].startswith("peer-gru-") and not e["fallback"] else e["model"]}


c = Consumer({"bootstrap.servers": broker, "group.id": "verify", "isolation.level": "read_committed",
              "enable.auto.commit": False, "enable.partition.eof": True})
c.assign([TopicPartition(OUT, p, OFFSET_BEGINNING) for p in range(4)])
seen, last, scores = np.zeros(N, np.uint8), {}, np.full(N, np.nan)
count = disorder = bad = dup = other = 0
eof = set()
while len(eof) < 4:
    for m in c.consume(10_000, 0.5):
        if m.error():
            eof.add(m.partition()); continue
        v = decoded(m.value())
        i, card = int(v["id"][1:]), v["card_id"]
        count += 1
        if i >= N: other += 1; continue
        dup += int(seen[i]); seen[i] = 1
        key = (m.key(), m.partition())
        disorder += last.get(key, -1) >= i          # ids rise with input order, a card lives in one partition
        last[key] = i
        if m.key() != card.encode(): bad += 1
        if "score" in v:
            bad += not (0.0 < v["score"] < 1.0) or v["model"] != "gru@1"
            scores[i] = v["score"]
missing = N - int(seen.sum())
ok = not (missing or dup or disorder or bad or other)
print(f"verify {'OK' if ok else 'FAIL'}: count={count} missing={missing} duplicates={dup} out_of_order={disorder} bad={bad} unknown={other} cards={len(last)}")
if len(sys.argv) > 2: np.save(sys.argv[2], scores)
sys.exit(0 if ok else 1)
