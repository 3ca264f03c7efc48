"""Subscribers to events, nothing else: what the product tells the outside about itself."""
