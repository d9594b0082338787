"""`medialane bench`: every published figure from one run on one stack, with its goal and the reference beside it."""
