"""Pictures of runs to keep: Matplotlib draws what `server.history` says, for paper and slides."""
