"""Which steps a departure concerns, and what ours does there instead."""

import numpy as np

from tests.goldens import nesterov
from tests.goldens.configs import case_for
from tests.goldens.problems import Problem, Trajectory
from tests.goldens.replay import Case, Replay, mismatches, replay

Marks = np.ndarray


def no_gradient(golden: Trajectory, ours: Replay) -> Marks:
    del ours
    return golden.grad_norm == 0


def tiny_gradient(golden: Trajectory, ours: Replay) -> Marks:
    del ours
    return (golden.grad_norm < 1e-6) & (golden.step_used == 0)


def failed(golden: Trajectory, ours: Replay) -> Marks:
    del ours
    return (golden.n_evals >= 100) & (golden.step_used == 1e-6)


def found_again(golden: Trajectory, ours: Replay) -> Marks:
    """Accepted at once after a failed search, where earlier searches had succeeded."""
    spent = failed(golden, ours)
    succeeded = (golden.n_evals > 0) & ~spent
    later = np.zeros(len(spent), bool)
    for t in range(1, len(spent)):
        start = t - 1
        while start > 0 and spent[start - 1]:
            start -= 1
        chain = spent[t - 1] and bool(np.any(succeeded[:start]))
        later[t] = chain and golden.n_evals[t] == 1
    return later


def uphill(golden: Trajectory, ours: Replay) -> Marks:
    return (ours.slope >= 0) & (golden.grad_norm > 0)


def below_rounding(golden: Trajectory, ours: Replay) -> Marks:
    del ours
    return (golden.n_evals > 0) & (golden.step_used < 1e-12) & (golden.step_used > 0)


def exploded(golden: Trajectory, ours: Replay) -> Marks:
    """Losses above eleven times the mean of those before."""
    del golden
    before = np.cumsum(ours.loss) - ours.loss
    mean = before / np.maximum(np.arange(len(before)), 1)
    return (mean > 0) & (ours.loss > 11 * mean)


def collapsed(golden: Trajectory, ours: Replay) -> Marks:
    del ours
    shorter = golden.step_used[1:] < 0.01 * golden.step_used[:-1]
    return np.concatenate([[False], shorter])


def at_goldstein_cap(golden: Trajectory, ours: Replay) -> Marks:
    del ours
    return (golden.n_evals == 100) & (golden.step_used == _eta_max(golden))


def above_max(golden: Trajectory, ours: Replay) -> Marks:
    over = golden.first_try > _eta_max(golden)
    return over | at_goldstein_cap(golden, ours)


def everywhere(golden: Trajectory, ours: Replay) -> Marks:
    del golden
    return np.ones(len(ours.loss), bool)


def _eta_max(golden: Trajectory) -> float:
    return golden.config["kw"].get("eta_max", 10.0)


def takes_no_step(
    golden: Trajectory, ours: Replay, problem: Problem, marks: Marks
) -> bool:
    del golden, problem
    still = (ours.num_trials == 0) & (ours.step_size == 0) & ~ours.accepted
    return bool(np.all(still[marks]))


def only_misses_growth(
    golden: Trajectory, ours: Replay, problem: Problem, marks: Marks
) -> bool:
    """With an initial step grown once, everything after the zero gradient matches."""
    kw, config = golden.config["kw"], golden.config
    case = case_for(config, problem.steps_per_epoch)
    assert isinstance(case, Case)
    per_step = 2 ** (1 / problem.steps_per_epoch)
    growth = 1.1 if config["f"] == "salsa" else per_step
    grown = {"initial_step_size": growth * kw.get("init_step_size", 1.0)}
    again = replay(case._replace(numbers=case.numbers | grown), problem)
    still = takes_no_step(golden, ours, problem, marks)
    # SaLSA's gate also averages the untested step; momentum may point uphill later.
    steps = 20 if config["f"] == "salsa" else golden.stable_steps
    return still and not mismatches(again, golden, problem, steps, marks)


def moves_on(golden: Trajectory, ours: Replay, problem: Problem, marks: Marks) -> bool:
    """A step size of ordinary length on the next batch and ever after."""
    del problem
    longer = ours.step_size[~marks] > 10 * golden.step_used[~marks]
    useful = np.min(ours.step_size[~marks]) > 1e-2
    return bool(longer[0] and useful)


def moves_on_at_once(
    golden: Trajectory, ours: Replay, problem: Problem, marks: Marks
) -> bool:
    """The step after the collapsed one is again as long as the one before it."""
    del golden, problem
    t = int(np.flatnonzero(marks)[0])
    return bool(ours.step_size[t + 1] > 0.5 * ours.step_size[t - 1])


def asks_for_more(
    golden: Trajectory, ours: Replay, problem: Problem, marks: Marks
) -> bool:
    """Where the two part, ours makes more trials and takes a shorter step."""
    del problem
    t = int(np.flatnonzero(ours.num_trials != golden.n_evals)[0])
    shorter = ours.accepted[t] and ours.step_size[t] < golden.step_used[t]
    first = int(np.flatnonzero(marks)[0])
    return bool(t >= first and shorter and ours.num_trials[t] > golden.n_evals[t])


def falls_back_along_direction(
    golden: Trajectory, ours: Replay, problem: Problem, marks: Marks
) -> bool:
    del problem, marks
    spent = ~ours.accepted & (ours.slope < 0)
    return bool(np.any(spent) and np.all(ours.step_size[spent] <= 1e-6))


def resumes(golden: Trajectory, ours: Replay, problem: Problem, marks: Marks) -> bool:
    """Failed searches fall back to 1e-6; the first accepted step is a useful one."""
    del problem
    start = int(np.flatnonzero(marks)[0])
    spent = ~ours.accepted & (ours.slope < 0)
    falls_back = bool(np.all(ours.step_size[spent] <= 1e-6))
    found = ours.step_size[start + 1 :][ours.accepted[start + 1 :]]
    reference = np.max(golden.step_used[start + 1 :])
    # Without any success the searches go on where they stopped, 100 trials each.
    return falls_back and (len(found) == 0 or np.max(found) > 10 * reference)


def goes_back(golden: Trajectory, ours: Replay, problem: Problem, marks: Marks) -> bool:
    """The next search starts from a longer step than the reference's."""
    del problem
    after = int(np.flatnonzero(marks)[0]) + 1
    longer = ours.step_size[after] > golden.step_used[after]
    return bool(longer or ours.num_trials[after] > golden.n_evals[after])


def respects_max(
    golden: Trajectory, ours: Replay, problem: Problem, marks: Marks
) -> bool:
    del problem, marks
    bounded = np.all(ours.step_size <= _eta_max(golden))
    return bool(bounded and np.all(ours.num_trials < 100))


def same_step_fewer_trials(
    golden: Trajectory, ours: Replay, problem: Problem, marks: Marks
) -> bool:
    del problem
    same = ours.step_size[marks] == golden.step_used[marks]
    fewer = ours.num_trials[marks] <= golden.n_evals[marks]
    return bool(np.all(same & fewer))


def goes_on(golden: Trajectory, ours: Replay, problem: Problem, marks: Marks) -> bool:
    del golden, problem
    first = int(np.argmax(marks))
    return bool(ours.step_size[first] > 0 and ours.slope[first] < 0)


def stops_earlier(
    golden: Trajectory, ours: Replay, problem: Problem, marks: Marks
) -> bool:
    del problem
    t = int(np.flatnonzero(marks)[0])
    return ours.num_trials[t] <= golden.n_evals[t] and ours.step_size[t] < 1e-12


def stays_finite(
    golden: Trajectory, ours: Replay, problem: Problem, marks: Marks
) -> bool:
    del golden, problem, marks
    return bool(np.all(np.isfinite(ours.theta)) and np.all(ours.theta[-1] != 0))


def momentum_rests(golden: Trajectory, ours: Replay) -> Marks:
    """From the step on whose losses first say that momentum made them climb."""
    del golden
    marks, mean = np.zeros(len(ours.loss), bool), 0.0
    largest = np.max(ours.loss[:10])
    for t, value in enumerate(ours.loss):
        mean += max(1 / (t + 1), 0.1) * (value - mean)
        smallest = np.min(ours.loss[: t + 1])
        marks[t] = t >= 10 and mean > largest + (largest - smallest)
    return np.maximum.accumulate(marks)


def climbs_less(
    golden: Trajectory, ours: Replay, problem: Problem, marks: Marks
) -> bool:
    """The losses at the end are far below those of the reference."""
    del problem, marks
    end = slice(golden.stable_steps - 10, golden.stable_steps)
    return bool(np.mean(ours.loss[end]) < 0.1 * np.mean(golden.loss[end]))


def is_textbook_nesterov(
    golden: Trajectory, ours: Replay, problem: Problem, marks: Marks
) -> bool:
    del marks
    steps = 20  # Momentum on a step of maximal length is chaotic later on.
    rests = momentum_rests(golden, ours)
    steps = min(steps, int(np.argmax(rests)) if np.any(rests) else steps)
    trials, step_sizes, theta = nesterov.oracle(golden.config["kw"], problem, steps)
    same = np.array_equal(trials, ours.num_trials[:steps])
    close = np.allclose(step_sizes, ours.step_size[:steps], rtol=1e-9)
    distance = np.linalg.norm(theta - ours.theta[steps - 1])
    return bool(same and close and distance <= 1e-7 * np.linalg.norm(theta))
