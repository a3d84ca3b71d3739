"""What `bench/run.py` is made of: ours, the peers, the rows, the report."""
