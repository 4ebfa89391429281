-- Actions, recommendations of actions, and plans for a budget.
SELECT;
