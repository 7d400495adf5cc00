"""The Flower ServerApp: teacher to pack, strategy, aggregation, checkpoints, run record."""
