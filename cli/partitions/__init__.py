"""`medialane partitions`: what is on which partition, what would be better, and moving it there."""
