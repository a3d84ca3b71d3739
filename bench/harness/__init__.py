"""What `bench/run.py` and `bench/sizes.py` are made of: ours, the peers, the rows, the sizes, the reports."""
