"""Training: rows in, a checkpoint out, in a process of its own.

`job` starts it and is cheap to import; `settings` and `canary` are plain values; only `sft` knows torch and
transformers, and only the child process imports it.
"""
