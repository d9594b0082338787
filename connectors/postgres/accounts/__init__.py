"""Tenants: their keys, plans, allowances and choices, what is sealed for them, and their removal."""
