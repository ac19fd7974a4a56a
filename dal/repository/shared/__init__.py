"""What reading and writing share: the model, its key, conditions, values and versions."""
