"""Training: rows in, a checkpoint out, in a process of its own.

`job` starts it and is cheap to import; `examples` reads the rows and `rows` makes token ids and token weights of them;
`settings` and `canary` are plain values; only `sft` (chats), `dpo` (pairs) and what they share know torch, transformers
and TRL, and only the child process imports them.
"""
