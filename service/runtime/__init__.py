"""The one engine of a server: its life, the batches on their way, the limits in force."""
