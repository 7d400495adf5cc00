"""The Flower ServerApp: follow the plan that the run config names."""

import torch
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from server.careful_grid import CarefulGrid
from server.federation import run_federation
from server.plan import Plan

torch.set_num_threads(1)  # one thread a process: two contended ones were 20 times slower

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the federation of `run_config["plan"]`, or continue it from its last checkpoint."""
    run_federation(CarefulGrid(grid), Plan.read(str(context.run_config["plan"])))
