#!/usr/bin/env python3
"""Makes expected.json: the statistics of the answer, computed in other ways than the planner does.

Quantiles of the studentised range are scipy's own. Dunnett's quantiles and the probability of being
the least are Gauss-Legendre integrals over scipy's densities, each checked here against a
simulation. The variance components are numpy's. Run: python3 expected.py > expected.json
(numpy 2, scipy 1.11 or newer)."""
import json

import numpy as np
from scipy import optimize, special, stats

LEVEL = 0.95
RNG = np.random.default_rng(1)


def legendre(low, high, nodes=160):
    x, w = np.polynomial.legendre.leggauss(nodes)
    return low + (high - low) * (x + 1) / 2, w * (high - low) / 2


def over_spread(f, degrees):
    """Mean of f(q), q the root of chi-squared over its degrees of freedom."""
    chi, root = stats.chi(degrees), np.sqrt(degrees)
    total = 0.0
    middle = chi.median()
    for low, high in [(chi.ppf(1e-15), middle), (middle, chi.isf(1e-15))]:
        x, w = legendre(low, high)
        total += np.sum(w * chi.pdf(x) * np.array([f(q / root) for q in x]))
    return total


Z, W = legendre(-9, 9, 240)
W = W * stats.norm.pdf(Z)


def over_normal(f):
    """Mean of f over the standard normal distribution; f takes all points at once."""
    return np.sum(W * f(Z))


def dunnett(trainings, degrees):
    """One-sided quantile, the first mean being the control."""
    own, others = trainings[0], np.array(trainings[1:], float)
    ratio = others / own

    def probability(d):
        inner = lambda q: over_normal(
            lambda z: np.prod(special.ndtr(d * q * np.sqrt(1 + ratio)[:, None]
                                           + z * np.sqrt(ratio)[:, None]), axis=0))
        return over_spread(inner, degrees)

    d = optimize.brentq(lambda d: probability(d) - LEVEL, 0.1, 60, xtol=1e-10)
    draws = 400_000
    z0 = RNG.standard_normal(draws) / np.sqrt(own)
    z = RNG.standard_normal((draws, len(others))) / np.sqrt(others)
    q = np.sqrt(RNG.chisquare(degrees, draws) / degrees)
    t = (z - z0[:, None]) / np.sqrt(1 / others + 1 / own) / q[:, None]
    covered = np.mean(t.max(axis=1) <= d)
    assert abs(covered - LEVEL) < 0.002, covered
    return d


def probability_of_least(means, trainings, s, degrees, at):
    own = means[at]
    others = [j for j in range(len(means)) if j != at]

    def inner(q):
        sigma = s / q

        def given(z):
            value = own + z * sigma / np.sqrt(trainings[at])
            return np.prod([special.ndtr((means[j] - value) * np.sqrt(trainings[j]) / sigma)
                            for j in others], axis=0)
        return over_normal(given)
    return over_spread(inner, degrees)


def standings(scores):
    set_means = [[np.mean(sets) for sets in network] for network in scores]
    means = [np.mean(network) for network in set_means]
    trainings = [len(network) for network in scores]
    degrees = sum(n - 1 for n in trainings)
    s = np.sqrt(sum(np.var(network) * len(network) for network in set_means) / degrees)
    all_sets = [sets for network in scores for sets in network]
    within = (sum(np.var(sets) * len(sets) for sets in all_sets)
              / sum(len(sets) - 1 for sets in all_sets))
    share = np.mean([1 / len(sets) for sets in all_sets])
    k = len(means)
    critical = [dunnett([trainings[i]] + trainings[:i] + trainings[i + 1:], degrees)
                for i in range(k)]
    error = lambda i, j: s * np.sqrt(1 / trainings[i] + 1 / trainings[j])
    # Hsu's constrained intervals, of goodness = -score.
    upper = [max(0, min(means[j] - means[i] + critical[i] * error(i, j)
                        for j in range(k) if j != i)) for i in range(k)]
    group = [i for i in range(k) if upper[i] > 0]
    lower = [0 if group == [i] else min(means[j] - means[i] - critical[j] * error(i, j)
                                        for j in group if j != i) for i in range(k)]
    probability = [probability_of_least(means, trainings, s, degrees, i) for i in range(k)]
    draws = 1_000_000
    sigma = s * np.sqrt(degrees / RNG.chisquare(degrees, draws))
    drawn = [m + RNG.standard_normal(draws) * sigma / np.sqrt(n) for m, n in zip(means, trainings)]
    simulated = np.bincount(np.argmin(drawn, axis=0), minlength=k) / draws
    assert np.abs(simulated - probability).max() < 0.003, (simulated, probability)
    tukey = stats.studentized_range.ppf(LEVEL, k, degrees) / np.sqrt(2)
    return {
        "scores": scores, "of_means": s, "degrees": degrees,
        "training": np.sqrt(max(0, s * s - share * within)), "sampling": np.sqrt(within),
        "half_width": tukey * error(0, 1),
        "means": [{"probability": probability[i], "may_be_best": bool(upper[i] > 0),
                   "behind": [-upper[i], -lower[i]]} for i in range(k)],
    }


def made_up(means, trainings, sets, between, within):
    return [[[round(m + t + e, 4) for e in RNG.normal(0, within, sets)]
             for t in RNG.normal(0, between, n)] for m, n in zip(means, trainings)]


print(json.dumps({
    "studentised_range": [
        {"count": k, "degrees": v, "quantile": stats.studentized_range.ppf(LEVEL, k, v)}
        for k, v in [(2, 2), (3, 4), (5, 10), (12, 24), (30, 60)]],
    "dunnett": [
        {"trainings": n, "degrees": v, "quantile": dunnett(n, v)}
        for n, v in [([3, 3], 4), ([3, 3, 3, 3], 8), ([2] * 6, 6), ([2, 3, 3, 5], 9), ([1, 2], 1),
                     ([3] * 12, 24)]],
    "standings": [
        standings(made_up([4.0, 3.6, 3.5, 3.55, 4.4], [3] * 5, 3, 0.14, 0.012)),
        standings(made_up([2.0, 2.1, 3.0], [2, 3, 2], 2, 0.1, 0.2)),
        standings(made_up([5.0, 9.0, 9.5, 9.2], [3] * 4, 3, 0.05, 0.02)),
    ],
}, indent=1))
