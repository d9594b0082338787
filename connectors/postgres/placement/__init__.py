"""Which partition carries which tenant, what stands on it, and what a tenant may have of its lanes."""
