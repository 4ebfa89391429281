-- Segments and their members.
SELECT;
