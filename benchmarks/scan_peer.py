"""Optuna's TPE, asked over standard input and output: a line of values out, a line with their result in.

It runs in an environment of its own, without bunchtrain.
"""

import json
import sys

import optuna


def suggested(trial, space):
    """Return the values that a trial is to have."""
    values = {}
    for name, one in space.items():
        if "choices" in one:
            values[name] = trial.suggest_categorical(name, one["choices"])
        elif isinstance(one["low"], int):
            values[name] = trial.suggest_int(name, one["low"], one["high"], log=one.get("log", False))
        else:
            values[name] = trial.suggest_float(name, one["low"], one["high"], log=one.get("log", False))
    return values


def main():
    """Suggest as often as asked."""
    asked = json.loads(sys.argv[1])
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(seed=asked["seed"], n_startup_trials=asked["initial"])
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial(asked["own"])
    for _ in range(asked["trials"]):
        trial = study.ask()
        print(json.dumps(suggested(trial, asked["space"])), flush=True)
        study.tell(trial, float(sys.stdin.readline()))


if __name__ == "__main__":
    main()
