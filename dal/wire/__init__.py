"""One connection on the wire: PyMySQL's class, made lean and watchful.

connecting, kept    where a connection comes from: a new one, or the one that was kept
connection          one session on the server, put together from session/
session/            login and state, statements, COMMIT and ROLLBACK, rows, cursors
network/            the socket, TLS, and why no connection was made
purpose, deadline, tally    what a connection is made for, and what that costs
killing, beside    ending what was given up, from a connection beside it
backoff             waits between two tries
"""
