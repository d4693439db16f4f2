"""Designs an experiment: how many users it takes to see a lift, by the rules that judge the real ones.

marimo edit deploy/notebooks/design_experiment.py

As a script (`python` for `marimo edit`) it prints the table; `-- --runs 2000` simulates more experiments a row. One row
in more detail: `eddy simulate --rate 0.05 --lift 0.1 --users 100000`.
"""

import marimo

app = marimo.App(width="medium", app_title="How long will it take?")


@app.cell
def _():
    import marimo as mo
    import numpy as np

    from models.experiments.assign.declaration import Rules
    from models.experiments.judge.simulation import Plan, simulate

    return Plan, Rules, mo, np, simulate


@app.cell
def _(mo):
    mo.md(
        """
        # How long will it take?

        Experiments with two variants are simulated and looked at again and again, as `eddy results` does. **Found** is
        the share in which a winner is called at any look; in the row without a lift every call is an error, and a test
        that stops at the first p below alpha makes the errors of the last column.
        """
    )


@app.cell
def _(mo):
    rate = mo.ui.number(0.001, 0.5, value=0.05, step=0.001, label="the control's rate")
    users_a_day = mo.ui.number(100, 10_000_000, value=5_000, step=100, label="new users a day, both variants")
    days = mo.ui.slider(7, 90, value=28, label="days, with a look at each")
    alpha = mo.ui.number(0.001, 0.2, value=0.05, step=0.001, label="alpha")
    mo.hstack([rate, users_a_day, days, alpha], wrap=True)
    return alpha, days, rate, users_a_day


@app.cell
def _(Plan, Rules, alpha, days, mo, np, rate, simulate, users_a_day):
    runs = int(mo.cli_args().get("runs") or 200)

    def found(lift):
        plan = Plan(users_a_day.value * days.value, days.value, rate.value, lift)
        parts = list(simulate(plan, Rules(alpha=alpha.value), runs, seed=1))
        at = np.concatenate([part.users_at_verdict for part in parts])
        called = at[np.isfinite(at)]
        return {
            "true lift": f"{lift:+.0%}",
            "found": f"{len(called) / runs:.1%}",
            "days, median": round(float(np.median(called)) / users_a_day.value, 1) if len(called) else None,
            "naive test": f"{np.concatenate([part.naive for part in parts]).mean():.1%}",
        }

    rows = [found(lift) for lift in (0.0, 0.02, 0.05, 0.1, 0.2)]
    for row in rows:
        print(row)
    mo.ui.table(rows, selection=None, label=f"{runs} experiments a row, {users_a_day.value * days.value:,} users each")


if __name__ == "__main__":
    app.run()
