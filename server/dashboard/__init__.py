"""The live page: what run records and boards say, for people to look at. Needs the extra `dashboard`."""
