"""What other partitions, placements, lanes or workers would have made of a history of jobs; in simulated time."""
