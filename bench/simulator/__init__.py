"""The load simulator: many clients, polite and impolite, against a server at a URL.

One process coordinates and shows, others load. What they counted is checked against the server
before anything is claimed.
"""
