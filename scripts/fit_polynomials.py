"""Fits the polynomials of csrc/cpu/primitives/math.h and prints them with their errors.

exp:  exp(r) = 1 + r + r^2 P(r) on |r| <= ln(2)/2, after the usual reduction by powers of two.
erfc: erfc(z) exp(z^2) = t Q(t) with t = 1 / (1 + z / 2) for z >= 0 (a rational map of the half line to (0, 1], which
      keeps the polynomial short because erfc(z) exp(z^2) ~ 1 / (z sqrt(pi))).

Both are relative minimax fits: least squares on Chebyshev nodes, weights raised where the error is largest (Lawson's
iteration). Run: python scripts/fit_polynomials.py
"""

from __future__ import annotations

import mpmath as mp
import numpy as np

mp.mp.dps = 40


def chebyshev_nodes(low: float, high: float, count: int) -> list[mp.mpf]:
    """`count` Chebyshev nodes of [low, high]."""
    return [(low + high) / 2 + (high - low) / 2 * mp.cos(mp.pi * (k + mp.mpf(1) / 2) / count) for k in range(count)]


def lawson(basis: list[list[mp.mpf]], target: list[mp.mpf], rounds: int = 40) -> list[mp.mpf]:
    """Coefficients c that minimise max |basis c - target| / |target|."""
    a = np.array([[float(v / y) for v in row] for row, y in zip(basis, target, strict=True)])
    weights = np.full(len(target), 1.0 / len(target))
    best, best_error = None, np.inf
    for _ in range(rounds):
        root = np.sqrt(weights)[:, None]
        coefficients, *_ = np.linalg.lstsq(a * root, root[:, 0], rcond=None)
        error = np.abs(a @ coefficients - 1.0)
        if error.max() < best_error:
            best, best_error = coefficients, error.max()
        weights = weights * error
        weights /= weights.sum()
    print(f"  largest relative error {best_error:.2e}")
    return best


def show(name: str, coefficients: np.ndarray) -> None:
    """Prints ascending coefficients as C++ literals."""
    print(f"  {name}: " + ", ".join(f"{float(np.float32(c)):.9g}f" for c in coefficients))


def fit_exp(degree: int) -> None:
    """P of degree `degree`."""
    nodes = chebyshev_nodes(-mp.log(2) / 2, mp.log(2) / 2, 400)
    nodes = [r for r in nodes if abs(r) > mp.mpf("1e-3")]
    print(f"exp, P of degree {degree}")
    show(
        "P",
        lawson([[r**k for k in range(degree + 1)] for r in nodes], [(mp.exp(r) - 1 - r) / r**2 for r in nodes]),
    )


def fit_erfc(degree: int) -> None:
    """Q of degree `degree`, on z in [0, 10]; beyond, erfc is below float's smallest number."""
    nodes = chebyshev_nodes(1 / mp.mpf(6), 1, 800)
    values = []
    for t in nodes:
        z = 2 * (1 / t - 1)
        values.append(mp.erfc(z) * mp.exp(z * z) / t)
    print(f"erfc, Q of degree {degree}")
    show("Q", lawson([[t**k for k in range(degree + 1)] for t in nodes], values))


if __name__ == "__main__":
    fit_exp(4)
    for degree in (7, 8, 9):
        fit_erfc(degree)
