"""The walls around untrusted bytes: a nursery process that forks warm children, and the limits each child lives under.

The worker talks to the nursery and to every child over Unix sockets only; nothing here knows what media is.
"""
