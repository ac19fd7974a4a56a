"""Data access from AWS Lambda to MySQL."""
