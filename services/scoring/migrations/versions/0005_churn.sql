-- Churn models, the risk of each customer, and who is above the line.
SELECT;
