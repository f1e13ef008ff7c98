"""The process: signals, standard streams, descriptors, memory."""
