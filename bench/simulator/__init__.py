"""The load simulator: many clients, polite and not, against a server that is known by its URL.

One process coordinates and shows, others load. What they counted is checked against the server
before anything is claimed.
"""
