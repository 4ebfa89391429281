-- Experiments, their arms and what came of them.
SELECT;
