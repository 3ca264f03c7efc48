"""The command `windlass`: one small file per noun."""
