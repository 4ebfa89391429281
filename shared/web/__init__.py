"""HTTP plumbing: the service app, problem documents, tokens, paging, entity tags, idempotency keys."""
