"""Fill bench.tx with N events (deterministic) unless it holds them.  usage: produce.py N
50,000 cards, popularity ~ 1/rank (Zipf s=1) capped at the weight of rank 20 (top card = 0.6 % of events)."""
import os, sys, time
import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

CARDS, CAP = 50_000, 20


def events(n, seed=7):
    r = np.random.default_rng(seed)
    w = 1.0 / np.maximum(np.arange(1, CARDS + 1), CAP)
    rank_to_card = r.permutation(CARDS)
    ts = 1_700_000_000_000
    for at in range(0, n, 100_000):                       # fixed-size chunks: a longer topic starts with the same events
        k = 100_000
        card = rank_to_card[np.searchsorted(np.cumsum(w / w.sum()), r.random(k)).clip(0, CARDS - 1)]
        merchant = r.integers(0, 2000, k)
        amount = np.round(np.exp(r.normal(3.2, 1.1, k)) + 0.01, 2)
        t = ts + np.cumsum(r.integers(1, 600, k))         # mean gap 0.3 s: 1M events = 3.5 days
        ts = int(t[-1])
        m = min(k, n - at)
        for i, c, me, a, x in zip(range(at, at + m), card.tolist(), merchant.tolist(), amount.tolist(), t.tolist()):
            yield c, f'{{"id":"t{i}","card_id":"c{c}","merchant_id":"m{me}","amount":{a},"ts":{x}}}'


def recreate(admin, *topics):
    have = [t for t in topics if t in admin.list_topics(timeout=10).topics]
    if have:
        for f in admin.delete_topics(have).values(): f.result()
        while set(have) & set(admin.list_topics(timeout=10).topics): time.sleep(0.2)
        time.sleep(0.5)
    for t in topics:
        for _ in range(20):
            try:
                admin.create_topics([NewTopic(t, 4, 1)])[t].result(); break
            except Exception: time.sleep(0.5)


if __name__ == "__main__":
    n, broker = int(sys.argv[1]), os.environ["BROKER"]
    c = Consumer({"bootstrap.servers": broker, "group.id": "x"})
    if "bench.tx" in c.list_topics(timeout=10).topics and sum(c.get_watermark_offsets(TopicPartition("bench.tx", p), 5)[1] for p in range(4)) == n: sys.exit()
    recreate(AdminClient({"bootstrap.servers": broker}), "bench.tx")
    p = Producer({"bootstrap.servers": broker, "compression.type": "lz4", "linger.ms": 20, "batch.size": 262144,
                  "partitioner": "murmur2_random", "queue.buffering.max.messages": 1_000_000, "enable.idempotence": True})
    t0 = time.time()
    for c, v in events(n):
        while True:
            try: p.produce("bench.tx", v, f"c{c}"); break
            except BufferError: p.poll(0.1)
    p.flush()
    print(f"{n} events in {time.time() - t0:.1f} s")
