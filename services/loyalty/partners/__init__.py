"""Partners of the coalition: they issue and accept our points, and are cleared with month by month."""
