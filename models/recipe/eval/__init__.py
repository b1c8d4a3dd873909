"""Parts of evaluate.py: what is compared, measured and chosen."""
