"""What an ended experiment comes to: its result table, its verdicts and the exit code."""

from collections.abc import Sequence

from service.cli.display import counts, out, print_json, results_table, verdicts_table
from service.cli.exits import Exit
from service.cli.found import print_found_by
from service.client import Client
from service.grid.axes import moving_together
from service.questions.shown_first import shown_first
from service.schemas.experiments import ExperimentDetail
from service.schemas.results import VerdictBody
from service.states import TrialState


def report(client: Client, experiment: ExperimentDetail, *, as_json: bool) -> Exit:
    """Print results and verdicts; the exit code is NO where a trial failed or a claim does not hold."""
    shown = shown_first(experiment.grid)
    results = client.results(
        experiment.id, metric=[shown.metric], layer=shown.layer, agg=["mean", "min", "max", "count"]
    )
    verdicts = client.verdicts(experiment.id)
    if as_json:
        print_json({"experiment": experiment, "results": results, "verdicts": verdicts})
    else:
        out.print(f"\n{shown.says} at the end of training ({counts(experiment)}):\n")
        out.print(results_table(results, moving_together(experiment.grid)))
        if verdicts:
            out.print()
            out.print(verdicts_table(verdicts))
        print_found_by(client, experiment.id, experiment.grid)
    return exit_code(experiment, verdicts)


def exit_code(experiment: ExperimentDetail, verdicts: Sequence[VerdictBody]) -> Exit:
    """OK if no trial failed or was cancelled and every claim holds."""
    unfinished = experiment.counts.get(TrialState.FAILED, 0) + experiment.counts.get(TrialState.CANCELLED, 0)
    return Exit.OK if not unfinished and all(one.holds is True for one in verdicts) else Exit.NO
