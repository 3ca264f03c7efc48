"""Brokers: where jobs are kept between the one who asks and the one who works."""
