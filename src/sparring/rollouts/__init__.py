"""Rollouts: what happens when a policy meets somebody. Each kind is a frozen record and the flow that makes it."""
