"""Outgoing HTTP to addresses that strangers chose: guarded, bounded in time and size."""
