"""The other side of P7a and P7b, run by a Python that has lifetimes and nothing of ours."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import lifetimes  # type: ignore[import-not-found]
import numpy as np
import pandas  # type: ignore[import-not-found,import-untyped,unused-ignore]


def fit(x: Any, recency: Any, age: Any) -> dict[str, Any]:
    """Fit, standard errors included; the log-likelihood of times as they were given.

    lifetimes scales times by `_scale` and reports the mean; a density of x times scales by _scale^x.
    """
    started = time.perf_counter()
    model = lifetimes.BetaGeoFitter().fit(x, recency, age)
    seconds = time.perf_counter() - started
    reached = -model._negative_log_likelihood_ * x.size + x.sum() * np.log(model._scale)
    return {"seconds": seconds, "log_likelihood": float(reached), "params": model.params_.to_dict()}


def predict(data: Any, terms: Any, answers: Path) -> dict[str, Any]:
    """P(alive), purchases in a year, and the discounted value of twelve months, of everybody."""
    x, recency, age, mean = (pandas.Series(data[name]) for name in ("x", "recency", "age", "mean"))
    model, spend = lifetimes.BetaGeoFitter(), lifetimes.GammaGammaFitter()
    model.params_ = pandas.Series(terms["params"])
    model.predict = model.conditional_expected_number_of_purchases_up_to_time
    p, q, gamma = (terms["spend"][name] for name in ("p", "q", "gamma"))
    spend.params_ = pandas.Series({"p": p, "q": q, "v": gamma})
    started = time.perf_counter()
    alive = model.conditional_probability_alive(x, recency, age)
    expected = model.conditional_expected_number_of_purchases_up_to_time(52.0, x, recency, age)
    value = spend.customer_lifetime_value(
        model, x, recency, age, mean, time=terms["months"], discount_rate=terms["discount"], freq="W"
    )
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
        answer = predict(data, terms, file.with_name("theirs.npz"))
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
