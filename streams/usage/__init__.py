"""Usage by tenant and window: a Faust table that is made from `media.events`, in a process of its own."""
