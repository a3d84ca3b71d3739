"""What the commands of `bench` are made of: ours, the peers, the rows, the sizes, the soak, the reports."""
