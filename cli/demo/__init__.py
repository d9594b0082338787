"""`medialane demo`: a newcomer's first minute, acted out on a stack of its own, with every promise checked."""
