"""Our side of P7a and P7b: `python -m infra.bench.modelling fit|predict FILE TERMS` prints JSON."""

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from infra.bench.shoppers import WEEKS_PER_MONTH
from services.scoring.facts.histories import fold
from services.scoring.models import bg_nbd
from services.scoring.models.gamma_gamma import GammaGamma
from services.scoring.value.lifetime import present_value


def fit(x: Any, recency: Any, age: Any) -> dict[str, Any]:
    """Fold and fit, standard errors included."""
    for library in ("scipy.optimize", "scipy.special"):  # imported once, so not what is measured
        importlib.import_module(library)

    started = time.perf_counter()
    estimate = bg_nbd.fit(fold(x, recency, age))
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "log_likelihood": estimate.log_likelihood, "params": estimate.params}


def predict(data: Any, terms: Any, answers: Path) -> dict[str, Any]:
    """P(alive), purchases in a year, and the discounted value of twelve months, of everybody."""
    x, recency, age = data["x"], data["recency"], data["age"]
    model, spend = bg_nbd.BgNbd(**terms["params"]), GammaGamma(**terms["spend"])
    months = np.arange(1, terms["months"] + 1)
    started = time.perf_counter()
    alive = model.p_alive(x, recency, age)
    expected = model.expected_purchases(52.0, x, recency, age)
    reached = model.expected_purchases(WEEKS_PER_MONTH * months, x, recency, age)
    value = present_value(reached, (1 + terms["discount"]) ** -months.astype(float))
    value *= spend.expected_spend(x, data["mean"])
    seconds = time.perf_counter() - started
    np.savez(answers, alive=alive, expected=expected, value=value)
    return {"seconds": seconds}


def main() -> None:
    """Run one job."""
    job, file, terms = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
    data = dict(np.load(file))
    if job == "fit":
        answer = fit(data["x"], data["recency"], data["age"])
    else:
        answer = predict(data, terms, file.with_name("ours.npz"))
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
