"""Evaluation: every number with its n and its 95 % interval, on items no policy was trained on."""
