"""Writes random histories with their survival by the Kaplan-Meier estimator of `lifelines`, one JSON object a line.

Each history is a list of [nanoseconds, ended]; for each time it gives the estimate and the 95 % band (Greenwood, log-log), and
how many were at risk or censored before.
"""

import json
import random
import sys

from lifelines import KaplanMeierFitter

MS = 1_000_000
HORIZONS = [1 * MS, 5 * MS, 20 * MS, 100 * MS, 1000 * MS]


def history(rng):
    """Durations around the times that are reported, many of them equal, ended with a random probability."""
    mean = rng.choice([2, 20, 200, 2000]) * MS
    share = rng.random()
    lives = []
    for _ in range(rng.randint(1, 200)):
        kind = rng.random()
        if kind < 0.1:
            ns = rng.choice([0, *HORIZONS])
        elif kind < 0.4:
            ns = rng.randint(0, 30) * MS
        else:
            ns = int(rng.expovariate(1 / mean))
        lives.append([ns, rng.random() < share])
    return lives


def survival(lives):
    fitter = KaplanMeierFitter()
    fitter.fit([ns for ns, _ in lives], [ended for _, ended in lives])
    band = fitter.confidence_interval_
    points = []
    for at in HORIZONS:
        until = band.index <= at
        alive = fitter.survival_function_at_times(at).iloc[0]
        low, high = band[until].iloc[-1] if until.any() else (1.0, 1.0)
        at_risk = sum(ns >= at for ns, _ in lives)
        censored = sum(ns < at and not ended for ns, ended in lives)
        points.append({"alive": alive, "low": low, "high": high, "atRisk": at_risk, "censored": censored})
    return points


def main():
    count, seed = int(sys.argv[1]), int(sys.argv[2])
    rng = random.Random(seed)
    for _ in range(count):
        lives = history(rng)
        print(json.dumps({"lives": lives, "points": survival(lives)}))


if __name__ == "__main__":
    main()
