"""What every request passes: CORS, the time that a body may take, and what is counted and traced of it."""
