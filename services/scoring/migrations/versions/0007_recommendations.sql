-- What goes with what, items, and forecasts of demand.
SELECT;
