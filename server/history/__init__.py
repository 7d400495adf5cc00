"""Run records read back: by the dashboard, the plots, TensorBoard and every comparison; nothing here writes one."""
