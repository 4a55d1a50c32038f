"""Makes a trained model fast to serve: one graph of stock operations, without what only training needs."""
