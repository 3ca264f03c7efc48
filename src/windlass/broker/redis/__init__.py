"""Jobs in Redis (or Valkey). `broker.py` says what each verb sends, `scripts/` what it does there."""
