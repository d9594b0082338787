"""The job protocol as SQL: made and dispatched, claimed and renewed, ended well or given up, put right."""
