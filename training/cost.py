"""What training cost: seconds, CPU-seconds, and an estimate of the energy."""
from __future__ import annotations

WATTS_A_CORE = 10  # an assumption for one busy core of a server with its share of memory and cooling; not measured


def spent(fits: list[dict]) -> dict:
    cpu = sum(f['cpuSeconds'] for f in fits)
    return {'seconds': round(sum(f['seconds'] for f in fits), 1), 'cpuSeconds': round(cpu, 1), 'wattHoursEstimated': round(cpu * WATTS_A_CORE / 3600, 2)}
