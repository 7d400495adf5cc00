"""A real deployment's server: an authority, a supervised SuperLink behind a proxy, invitations, and one run."""
