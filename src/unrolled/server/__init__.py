"""Models over HTTP: scores, surprisals, next words, generation, tags, and OpenAI's completions.

`settings`     addresses and limits of a server
`models`       the models that are served, and their replacement while requests run
`work`         threads, time limits, and the batches that single sentences are scored in
`fields`       the fields of each request
`endpoints`    what each request gives; `word_scores` and `hypotheses` are parts of it
`sizes`        how much a request may ask for
`prompts`      prompts as tokens
`completions`  `/v1/completions` and the tokenizer that lm-evaluation-harness asks for
`metrics`      counters for Prometheus
`openapi`      the description of all of it
`app`          the ASGI application: limits, errors, dispatch
`protocol`     connections, and their limits
`serving`      processes, signals, sockets
"""
