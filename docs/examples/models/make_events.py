"""Invents card authorisations with some fraud in them, as CSV: the training data of the examples beside this file.

    python make_events.py events.csv

The same file every time. A thief uses a card some times within an hour, online or at a cash machine, for more than its owner spends.
"""
import csv
import random
import sys
from datetime import datetime, timedelta, timezone

CHANNELS = ['CHIP', 'CONTACTLESS', 'ECOM', 'ATM']
MERCHANTS = [5411, 5812, 5541, 6011, 5732, 7995]
CARDS, DAYS = 300, 60
BEGIN = datetime(2024, 3, 1, tzinfo=timezone.utc)


def main(file: str) -> None:
    rng = random.Random(11)
    events = []
    for card in range(CARDS):
        mean, a_day = rng.uniform(800, 6_000), rng.uniform(0.4, 2.5)
        for day in range(DAYS):
            for _ in range(min(6, int(rng.expovariate(1 / a_day)))):
                at = BEGIN + timedelta(days=day, seconds=rng.gauss(14, 4) % 24 * 3600)
                events.append((at, card, int(rng.lognormvariate(0, 0.5) * mean), rng.choices(CHANNELS, (4, 4, 2, 1))[0], rng.choices(MERCHANTS, (6, 4, 2, 1, 1, 0.2))[0], 0))
        if rng.random() < 0.35:
            start = BEGIN + timedelta(days=rng.uniform(10, DAYS - 1))
            for _ in range(rng.randint(3, 7)):
                start += timedelta(minutes=rng.expovariate(1 / 9))
                events.append((start, card, int(rng.lognormvariate(0.9, 0.5) * mean), rng.choices(CHANNELS, (0, 1, 6, 3))[0], rng.choices(MERCHANTS, (0, 1, 0, 3, 5, 3))[0], 1))
    events.sort()
    with open(file, 'w', newline='') as out:
        writer = csv.writer(out)
        writer.writerow(['id', 'time', 'card', 'amount_cents', 'channel', 'merchant_code', 'is_fraud', 'scenario'])
        for number, (at, card, amount, channel, merchant, fraud) in enumerate(events):
            writer.writerow([f'a{number}', int(at.timestamp() * 1000), f'card-{card}', max(1, amount), channel, merchant, fraud, fraud])


if __name__ == '__main__':
    main(sys.argv[1])
