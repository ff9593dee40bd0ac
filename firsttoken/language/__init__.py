"""What a person said, judged without a model: how much it asks for, and whether two texts ask for
the same. Chinese and English; pure functions over word lists that lie beside them."""
