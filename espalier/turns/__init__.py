"""What a turn of the loop is made of: the questions that wait, and the decoders that asked them."""
