"""The same functions, each written the way its library's documentation says.

Every module here is deployed by itself, as a Lambda function is: flat, with `address.py` beside it.
"""
