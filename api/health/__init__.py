"""How the process is: `/healthz`, `/readyz`, `/metrics`."""
